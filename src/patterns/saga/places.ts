import { isTallyError, TallyError } from '../../core/errors.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import type { Ledger } from '../../ports/ledger.ts';
import { type Backoff, backoffMs } from '../../runtime/backoff.ts';
import { parseRecord } from './record.ts';
import { PLACES, RECORDS } from './spaces.ts';

/** How soon, and how seldom, a step looks again for a place that another worker may have freed. */
const LOOK: Backoff = { firstMs: 50, maxMs: 1_000, factor: 2 };

export interface PlacesParts {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
}

/** Who wants a place, and in what. */
export interface PlaceRequest {
  readonly saga: string;
  readonly step: string;
  readonly max: number;
  readonly id: string;
  readonly path: string;
  /** Of the saga's head: a place of an earlier epoch is nobody's. */
  readonly epoch: number;
  readonly signal: AbortSignal;
}

/** A place that is taken. */
export interface Place {
  /** In {@link PLACES}; undefined: the step has no limit. To be deleted with what the step recorded. */
  readonly key: string | undefined;
  /** Lets the next one of this worker look for a place. */
  readonly leave: () => void;
}

interface Gate {
  used: number;
  isLooking: boolean;
  /** Who waits, in order. */
  readonly waiting: Set<() => void>;
}

const unlimited: Place = { key: undefined, leave: () => undefined };

/**
 * Places in steps that only so many sagas may be in at the same time, over all workers: records of the ledger, each
 * written only where none is. In one worker first come, first served, and only the first of a step asks the ledger;
 * between workers it is chance.
 *
 * A place goes in the same commit as what its step recorded. What a worker that died has left is free once its saga is
 * in other hands, or in nobody's: its epoch or its status says so.
 */
export class Places {
  readonly #parts: PlacesParts;
  readonly #gates = new Map<string, Gate>();

  constructor(parts: PlacesParts) {
    this.#parts = parts;
  }

  /** Waits for a place. Throws when the signal aborts. */
  async enter(request: PlaceRequest): Promise<Place> {
    const { saga, step, max, signal } = request;
    if (max === Infinity) return unlimited;
    const prefix = `${saga}/${step}/`;
    const gate = this.#gates.get(prefix) ?? { used: 0, isLooking: false, waiting: new Set() };
    this.#gates.set(prefix, gate);
    while (gate.isLooking || gate.used >= max) await wakened(gate, signal);
    gate.isLooking = true;
    try {
      const key = await this.#take(prefix, request);
      gate.used += 1;
      const leave = (): void => {
        gate.used -= 1;
        wakeNext(gate);
      };
      return { key, leave };
    } finally {
      gate.isLooking = false;
      wakeNext(gate);
    }
  }

  async #take(prefix: string, { max, id, epoch, path, signal }: PlaceRequest): Promise<string> {
    const { ledger, clock, random } = this.#parts;
    const value = JSON.stringify([id, epoch, path]);
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      const key = await this.#free(prefix, max).catch(unlessAway);
      if (key !== undefined)
        try {
          await ledger.commit([{ kind: 'put', space: PLACES, key, value, ifVersion: 0 }]);
          return key;
        } catch (error) {
          if (isTallyError(error, 'COMMIT_UNKNOWN')) {
            const found = await ledger.get(PLACES, key).catch(unlessAway);
            if (found?.value === value) return key;
          } else if (!isTallyError(error, 'LEDGER_CONFLICT')) unlessAway(error);
        }
      await clock.sleep(backoffMs(attempt, LOOK, random), signal);
    }
  }

  /** A place that nobody has; one whose saga has moved on is made free first. */
  async #free(prefix: string, max: number): Promise<string | undefined> {
    const { ledger } = this.#parts;
    const records = await ledger.list(PLACES, { prefix, limit: max });
    const taken = new Map(records.map((record) => [record.key, record]));
    for (let number = 0; number < max; number += 1) {
      const record = taken.get(`${prefix}${number}`);
      if (record === undefined) return `${prefix}${number}`;
      const [id, epoch] = JSON.parse(record.value) as readonly [string, number];
      const found = await ledger.get(RECORDS, id);
      const head = found === undefined ? undefined : parseRecord(found).head;
      if (head !== undefined && head.owner !== null && head.epoch === epoch) continue;
      const { key, version } = record;
      await ledger.commit([{ kind: 'delete', space: PLACES, key, ifVersion: version }]);
      return key;
    }
    return undefined;
  }
}

/** Resolves when it may be one's turn to look for a place. Throws when the signal aborts. */
async function wakened(gate: Gate, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  gate.waiting.add(wake);
  signal.addEventListener('abort', wake, { once: true });
  await promise;
  signal.removeEventListener('abort', wake);
  // One that gives up passes on the turn that it may have got.
  if (signal.aborted && !gate.waiting.delete(wake)) wakeNext(gate);
  signal.throwIfAborted();
}

function wakeNext({ waiting }: Gate): void {
  const [first] = waiting;
  if (first === undefined) return;
  waiting.delete(first);
  first();
}

/** A ledger that is away, or a place that somebody else freed, is asked again. */
function unlessAway(error: unknown): undefined {
  if (error instanceof TallyError && (error.retryable || error.code === 'LEDGER_CONFLICT')) return;
  throw error;
}
