import { point } from '../observe/point.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Source, SourceCursor } from '../ports/source.ts';
import type { HeldLease } from '../runtime/lease.ts';

const SPACE = 'confirmed';
/** Acknowledging is a write in the source: often enough to let it forget, seldom enough not to be felt. */
const ACKNOWLEDGE_EVERY_MS = 250;

/** What the source was told it may forget, as the ledger remembers it. */
export async function confirmedCursor(
  ledger: Ledger,
  lane: string,
): Promise<{ epoch: number; offset: number } | undefined> {
  const record = await ledger.get(SPACE, lane);
  return record === undefined
    ? undefined
    : (JSON.parse(record.value) as { epoch: number; offset: number });
}

export interface AcknowledgerOptions {
  readonly lane: string;
  readonly source: Source<unknown>;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly lease: HeldLease;
  readonly epoch: number;
  /** Called once, when an acknowledgement failed: capture has to start again, also if nothing more comes. */
  readonly onFailure: (error: unknown) => void;
}

/**
 * Tells the source how far the log is durable, a few times a second. The ledger is told first, so that
 * a log that comes back shorter than what the source has forgotten is noticed and named.
 */
export class Acknowledger implements AsyncDisposable {
  readonly #options: AcknowledgerOptions;
  #noted: SourceCursor | undefined;
  #cancel: (() => void) | undefined;
  #working: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
  }

  /** `cursor` is durable in the log. */
  note(cursor: SourceCursor): void {
    this.#noted = cursor;
    this.#cancel ??= this.#options.clock.after(ACKNOWLEDGE_EVERY_MS, () => {
      this.#cancel = undefined;
      // One after the other: a slow one that ended last would put the ledger back.
      this.#working = this.#working.then(() => this.#acknowledge());
    });
  }

  /** Throws what an earlier acknowledgement failed with: capture must not go on pretending. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #acknowledge(): Promise<void> {
    const cursor = this.#noted;
    if (cursor === undefined || this.#failure !== undefined) return;
    this.#noted = undefined;
    const { ledger, lane, epoch, lease, source } = this.#options;
    try {
      await ledger.commit([
        lease.guard,
        {
          kind: 'put',
          space: SPACE,
          key: lane,
          value: JSON.stringify({ epoch, offset: cursor.offset }),
        },
      ]);
      point('capture.after-ledger-before-acknowledge');
      await source.acknowledge(cursor, lease.epoch);
      point('capture.after-acknowledge');
    } catch (error) {
      this.#failure = error;
      this.#options.onFailure(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancel?.();
    await this.#working;
    await this.#acknowledge();
  }
}
