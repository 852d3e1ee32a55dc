import { join } from 'node:path';
import { unreachable } from '../../src/core/errors.ts';
import { flow, put, tally, type TallyApp } from '../../src/index.ts';
import { inbox, outboxMessages, postgres } from '../../src/stores/postgres/index.ts';
import { redis } from '../../src/stores/redis/index.ts';
import { nullStore } from './null-store.ts';

/** A connection for each of the callers that a benchmark has, and those of the application itself. */
const POOL = { max: 24 };

/** Where the changes go. */
export type Target = 'redis' | 'null' | 'inbox' | 'inbox-sequence';

/** What an application of these benchmarks is made of. */
export interface AppSettings {
  readonly dir: string;
  readonly target: Target;
  readonly url: string;
  /** Of the target, where it is a server. */
  readonly targetUrl?: string;
}

/** The orders in PostgreSQL, and one flow of them. */
export function linesApp({ dir, target, url, targetUrl = '' }: AppSettings): TallyApp {
  const orders =
    target === 'inbox-sequence'
      ? postgres({ url, capture: 'outbox' })
      : postgres({ url, pool: POOL });
  const name = 'bench';
  switch (target) {
    case 'inbox':
    case 'inbox-sequence':
      return tally({
        name,
        dir: join(dir, 'tally'),
        stores: { orders, copy: postgres({ url: targetUrl, targets: { inbox: inbox() } }) },
        flows: {
          lines: flow({
            from: 'orders',
            tables: ['outbox'],
            to: 'copy',
            into: 'inbox',
            project: outboxMessages(),
          }),
        },
      });
    case 'redis':
    case 'null':
      return tally({
        name,
        dir: join(dir, 'tally'),
        stores: { orders, copy: target === 'redis' ? redis({ url: targetUrl }) : nullStore() },
        flows: {
          lines: flow({
            from: 'orders',
            tables: ['lines'],
            to: 'copy',
            into: 'lines',
            project: (row) => put('lines', [row['id'] as number], row),
          }),
        },
      });
    default:
      return unreachable(target);
  }
}
