import { TallyError } from '../../core/errors.ts';
import { mergeEvidence, type Evidence } from '../../core/evidence.ts';
import { checkDuration, checkNumber, checkOneOf, checkOptions } from '../../core/options.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Store } from '../../ports/store.ts';
import {
  currentBudget,
  deadlineOn,
  priorities,
  type Budget,
  type Priority,
} from '../../runtime/budget.ts';
import { systemClock } from '../../runtime/clock.ts';
import { currentEvidence, currentWork, withEvidence, type Work } from '../../runtime/context.ts';
import { answersOf, type Batch } from './batch-answers.ts';
import { currentAttempt, type Call } from './call.ts';
import { guardOf, type CallOptions, type Guard, type StoreGuard } from './guard.ts';
import type { Duration } from './guard-options.ts';
import { keysMaxOf } from './loader-limits.ts';
import { Memo, type Loaded, type MemoKey } from './memo.ts';

export interface LoaderOptions<Key> {
  /** Keys of one batch. Default: what the store of that system takes well ({@link keysMaxOf}). */
  readonly keysMax?: number;
  /**
   * How long keys are collected. Default 0: until the event loop comes round, so that loads join that were set off
   * by different answers arriving together.
   */
  readonly collect?: Duration;
  /** What tells two keys apart, for keys that are objects. Default: the key itself. */
  readonly keyOf?: (key: Key) => MemoKey;
  /** Default true: a batch only reads, and is repeated and hedged as the guard says. */
  readonly idempotent?: boolean;
  readonly within?: Duration;
  readonly priority?: Priority;
  /** What it is called in the log of queries. Default: `load`. */
  readonly name?: string;
  readonly clock?: Clock;
}

/** Loads by key, many at a time. One for the process: what it remembers, it remembers for one request. */
export interface Loader<Key, Value> {
  /**
   * The value of a key; undefined if there is none. Rejects with what the batch said of this key, or with what
   * its call came to (see {@link Guard.run}).
   */
  load(key: Key): Promise<Value | undefined>;
  /** In the order of the keys. Rejects as a whole if one of them failed. */
  loadMany(keys: readonly Key[]): Promise<readonly (Value | undefined)[]>;
  /** In the order of the keys, each with its own outcome. */
  loadSettled(keys: readonly Key[]): Promise<readonly PromiseSettledResult<Value | undefined>[]>;
  /** Tells the present request a value, so that it is not loaded. */
  prime(key: Key, value: Value | undefined): void;
  /** Forgets what the present request knows of a key, or of all. */
  clear(key?: Key): void;
}

/** A key that is loaded, or was. */
interface Waiting<Key, Value> extends Loaded<Value | undefined> {
  readonly key: Key;
  readonly memoKey: MemoKey;
  readonly resolve: (value: Value | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** Keys that are collected for one request. */
interface Collecting<Key, Value> {
  readonly work: Work | undefined;
  readonly keys: Map<MemoKey, Waiting<Key, Value>>;
  evidence: Evidence;
  budget: Budget;
}

const optionNames = [
  'keysMax',
  'collect',
  'keyOf',
  'idempotent',
  'within',
  'priority',
  'name',
  'clock',
] as const;

/** More keys in one batch than any store answers well. */
const KEYS_LIMIT = 100_000;
/** Outside of a request all that load share one collection. */
const NOWHERE = {};

/**
 * A loader: single loads of one turn of the event loop become batches, each key once, through the guard of the
 * store. Within a request (`runInContext`, `withRequestEvidence`) a key that was loaded is remembered until the
 * request writes something through `app.write`: what is loaded after a write is read after it, with its evidence.
 * Batches of two requests are never one: each has its own evidence, deadline and rights.
 *
 * Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID. An answer that is not one for each key is BATCH_INVALID.
 *
 * ```ts
 * const products = loader(app.stores.orders, async (ids: readonly string[]) => {
 *   const rows = await findProducts(ids);
 *   return new Map(rows.map((row) => [row.id, row]));
 * });
 * ```
 */
export function loader<Key, Value>(
  from: Guard | Store,
  batch: Batch<Key, Value>,
  options: LoaderOptions<Key> = {},
): Loader<Key, Value> {
  return new StoreLoader(from, batch, options);
}

class StoreLoader<Key, Value> implements Loader<Key, Value> {
  readonly #guard: StoreGuard;
  readonly #batch: Batch<Key, Value>;
  readonly #keysMax: number;
  readonly #collectMs: number;
  readonly #keyOf: ((key: Key) => MemoKey) | undefined;
  readonly #callOptions: CallOptions;
  readonly #clock: Clock;
  readonly #endless: Budget;
  readonly #memo: Memo<Value | undefined> = new Memo();
  readonly #collecting = new WeakMap<object, Collecting<Key, Value>>();

  constructor(from: Guard | Store, batch: Batch<Key, Value>, options: LoaderOptions<Key>) {
    checkOptions(options, optionNames, 'loader');
    if (typeof batch !== 'function')
      throw new TallyError('CONFIG_INVALID', {
        what: 'the batch of a loader is not a function',
        where: 'loader',
        mend: 'write loader(store, async (keys) => new Map(…))',
      });
    this.#guard = guardOf(from);
    this.#batch = batch;
    const keysMax = options.keysMax ?? keysMaxOf('system' in from ? from.system : undefined);
    this.#keysMax = checkNumber(keysMax, 'loader.keysMax', {
      min: 1,
      max: KEYS_LIMIT,
      integer: true,
    });
    const { within, priority } = options;
    this.#collectMs = checkDuration(options.collect ?? 0, 'loader.collect');
    this.#keyOf = options.keyOf;
    this.#clock = options.clock ?? systemClock;
    this.#endless = { clock: this.#clock, deadlineMs: Infinity, priority: 'normal' };
    this.#callOptions = {
      idempotent: options.idempotent ?? true,
      name: options.name ?? 'load',
      ...(within === undefined ? {} : { within: checkDuration(within, 'loader.within') }),
      ...(priority === undefined
        ? {}
        : { priority: checkOneOf(priority, 'loader.priority', priorities) }),
    };
  }

  load(key: Key): Promise<Value | undefined> {
    const memoKey = this.#memoKey(key);
    const work = currentWork();
    const attempt = currentAttempt();
    const loaded = this.#memo.get(work, memoKey) ?? this.#collect(work, key, memoKey);
    if (attempt === undefined) return loaded.value;
    // How fresh the batch was counts for each part that a value of it goes into.
    return loaded.value.then((value) => {
      if (loaded.known !== undefined) attempt.note(loaded.known);
      return value;
    });
  }

  async loadMany(keys: readonly Key[]): Promise<readonly (Value | undefined)[]> {
    return await Promise.all(keys.map((key) => this.load(key)));
  }

  async loadSettled(
    keys: readonly Key[],
  ): Promise<readonly PromiseSettledResult<Value | undefined>[]> {
    return await Promise.allSettled(keys.map((key) => this.load(key)));
  }

  prime(key: Key, value: Value | undefined): void {
    this.#memo.set(currentWork(), this.#memoKey(key), {
      value: Promise.resolve(value),
      known: undefined,
    });
  }

  clear(key?: Key): void {
    this.#memo.clear(currentWork(), key === undefined ? undefined : this.#memoKey(key));
  }

  #memoKey(key: Key): MemoKey {
    if (this.#keyOf !== undefined) return this.#keyOf(key);
    if (typeof key === 'string' || typeof key === 'number' || typeof key === 'bigint') return key;
    throw new TallyError('CONFIG_INVALID', {
      what: `a key that is neither text nor a number cannot be told from another`,
      where: `loader of ${this.#guard.name}`,
      mend: 'give the loader keyOf, which makes a text of a key',
    });
  }

  #collect(work: Work | undefined, key: Key, memoKey: MemoKey): Waiting<Key, Value> {
    const scope = work?.id ?? NOWHERE;
    const budget = currentBudget() ?? this.#endless;
    let collecting = this.#collecting.get(scope);
    if (collecting === undefined) {
      collecting = { work, keys: new Map(), evidence: currentEvidence(), budget };
      this.#collecting.set(scope, collecting);
      void this.#sendLater(scope, collecting);
    } else {
      collecting.evidence = mergeEvidence(collecting.evidence, currentEvidence());
      collecting.budget = larger(collecting.budget, budget);
    }
    const same = collecting.keys.get(memoKey);
    if (same !== undefined) return same;
    const { promise, resolve, reject } = Promise.withResolvers<Value | undefined>();
    const waiting: Waiting<Key, Value> = {
      key,
      memoKey,
      value: promise,
      known: undefined,
      resolve,
      reject,
    };
    collecting.keys.set(memoKey, waiting);
    this.#memo.set(work, memoKey, waiting);
    return waiting;
  }

  /** Goes on in the context of the load that began the collection: that of the request. */
  async #sendLater(scope: object, collecting: Collecting<Key, Value>): Promise<void> {
    await this.#clock.sleep(this.#collectMs);
    this.#collecting.delete(scope);
    const all = [...collecting.keys.values()];
    withEvidence(collecting.evidence, () => {
      for (let from = 0; from < all.length; from += this.#keysMax)
        this.#send(all.slice(from, from + this.#keysMax), collecting);
    });
  }

  #send(waiting: readonly Waiting<Key, Value>[], { work, budget }: Collecting<Key, Value>): void {
    const keys = waiting.map(({ key }) => key);
    const read = async (call: Call): Promise<readonly (Value | Error | undefined)[]> => {
      const answers = await this.#batch(keys, call);
      return answersOf(answers, keys, this.#guard.name) as readonly (Value | Error | undefined)[];
    };
    const fail = (one: Waiting<Key, Value>, error: Error): void => {
      // Whoever asks again is to have another try.
      this.#memo.drop(work, one.memoKey, one);
      one.reject(error);
    };
    this.#guard.start(
      read,
      this.#callOptions,
      {
        done: (answers, known) => {
          for (const [index, one] of waiting.entries()) {
            const answer = answers[index];
            one.known = known;
            if (answer instanceof Error) fail(one, answer);
            else one.resolve(answer);
          }
        },
        gone: ({ error }) => {
          for (const one of waiting) fail(one, error);
        },
      },
      budget,
    );
  }
}

/** Of the loads of a batch the one that may wait longest and matters most: the others stop waiting by themselves. */
function larger(left: Budget, right: Budget): Budget {
  const { clock } = left;
  const deadlineMs = Math.max(left.deadlineMs, deadlineOn(clock, right));
  const matters = Math.min(priorities.indexOf(left.priority), priorities.indexOf(right.priority));
  return { clock, deadlineMs, priority: priorities[matters] ?? 'normal' };
}
