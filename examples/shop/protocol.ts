import type { AppStatus } from 'tallystick';
import type { Servers } from './app.ts';
import type { ReadReport } from './evidence-reads.ts';

// What the supervisor and its worker say to each other: over the channel of a child process.

/** What a worker is started with. */
export interface WorkerConfig {
  readonly dir: string;
  /** Where orders and sessions are, if not in files. */
  readonly servers: Servers | undefined;
  readonly seed: number;
  readonly ordersPerSecond: number;
  /** Replay this file instead of making customers up. */
  readonly input: string | undefined;
}

/** How the shop stands: sent a few times a second, and once more at the end. */
export interface ShopStatus {
  readonly app: AppStatus;
  readonly reads: ReadReport;
  readonly counts: Readonly<Record<string, number>>;
}

/** The variable that holds the {@link WorkerConfig}: a password in it is not for everybody who lists processes. */
export const CONFIG_VARIABLE = 'SHOP_WORKER';

export type FromWorker =
  | { readonly kind: 'running' }
  | { readonly kind: 'status'; readonly status: ShopStatus }
  | { readonly kind: 'replayed' }
  /** Every flow has passed the newest commit; or these have not, and why. */
  | { readonly kind: 'settled'; readonly behind: readonly string[]; readonly status: ShopStatus }
  | { readonly kind: 'failed'; readonly message: string };

/** `finish`: take no more orders, wait until every store has caught up, close. */
export type ToWorker = { readonly kind: 'finish'; readonly withinMs: number };
