import type { Clock } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Store } from '../ports/store.ts';
import { RequestDesk } from './requests.ts';
import { STATUS_SPACE, type AppStatus } from './status.ts';
import type { Worker } from './worker.ts';

/** How often requests are looked for and the status is left for other processes. */
const ROUND_MS = 500;
/** How many rounds pass between two releases of the logs. */
const ROUNDS_PER_RELEASE = 4;
/** Expired keys that one round removes from a store: a bounded piece of work in somebody's database. */
const SWEEP_MAX = 1_000;
/** How many rounds pass between two looks for markers of effects that are past their retention: a minute. */
const ROUNDS_PER_PRUNE = 120;

export interface MaintenanceOptions {
  readonly stores: Readonly<Record<string, Store>>;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly worker: Worker;
  readonly status: () => Promise<AppStatus>;
}

/** The housekeeping of a running application. A round that fails is not the last: the next one tries again. */
export class Maintenance {
  readonly #options: MaintenanceOptions;
  readonly #desk: RequestDesk;
  #cancel = (): void => undefined;
  #round = 0;
  #working: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: MaintenanceOptions) {
    this.#options = options;
    this.#desk = new RequestDesk(options.ledger, options.worker);
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#working;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#cancel = this.#options.clock.after(ROUND_MS, () => {
      this.#working = this.#work()
        .catch(() => undefined)
        .finally(() => this.#schedule());
    });
  }

  async #work(): Promise<void> {
    const { ledger, worker, status } = this.#options;
    this.#round += 1;
    await this.#desk.look();
    // A source that cannot be asked is what the status has to tell, not a reason to be silent.
    await worker.refresh().catch(() => undefined);
    const now = await status();
    await ledger.commit([
      { kind: 'put', space: STATUS_SPACE, key: now.owner, value: JSON.stringify(now) },
    ]);
    if (this.#round % ROUNDS_PER_RELEASE !== 0) return;
    await worker.release();
    for (const { keyValue } of Object.values(this.#options.stores))
      await keyValue?.sweep(SWEEP_MAX);
    if (this.#round % ROUNDS_PER_PRUNE !== 0) return;
    for (const { effects } of Object.values(this.#options.stores))
      await effects?.prune({ limit: SWEEP_MAX });
  }
}
