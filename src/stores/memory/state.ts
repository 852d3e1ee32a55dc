import { TallyError } from '../../core/errors.ts';
import type { Identity } from '../../core/position.ts';
import type { LeaseRecord, LedgerRecord } from '../../ports/ledger.ts';
import type { LogRecord } from '../../ports/log.ts';
import type { Checkpoint } from '../../ports/sink.ts';
import type { SourceEntry } from '../../ports/source.ts';
import type { CacheState } from './cache-state.ts';

/** One step that happens to the state as a whole: nothing of it is there before, all of it after. */
export interface MemoryUnit {
  readonly port: 'source' | 'sink' | 'keyValue' | 'caches' | 'objects' | 'scan' | 'log' | 'ledger';
  /** What the step is, e.g. `commit`, `apply`, `append`. */
  readonly operation: string;
  /** How many items it carries: changes, writes, records. */
  readonly size: number;
}

/**
 * Stands around every unit; the simulator's seam. What `before` throws keeps the unit from
 * happening. If it answers a number below the size of a log append, only that many records go in and
 * the caller is told nothing but STORE_UNREACHABLE: a torn write. What `after` throws reaches a
 * caller whose unit did happen: the unknown outcome.
 */
export interface MemoryHook {
  before?(unit: MemoryUnit): void | number | Promise<void | number>;
  after?(unit: MemoryUnit): void | Promise<void>;
}

/** A table of the source: rows as canonical text, by the canonical text of their key. */
export interface TableState {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly rows: Map<string, string>;
}

/** The changes of one transaction, and its commit as the last entry. */
export interface TransactionState {
  readonly offset: number;
  readonly entries: readonly SourceEntry[];
}

/** What a source keeps over a crash. */
export interface SourceState {
  history: string;
  /** The histories that this one goes on from, each with the last offset that belongs to both. */
  forks: readonly { readonly from: string; readonly upTo: number }[];
  readonly tables: Map<string, TableState>;
  readonly captured: Set<string>;
  /** In commit order; those acknowledged are gone from the front. */
  transactions: TransactionState[];
  /** The offset of the newest commit. */
  head: number;
  /** Transactions up to this offset were let go of. */
  prunedTo: number;
  acknowledgedTo: number;
  workerEpoch: number;
}

/** A row or, with `row` null, a tombstone; with the version that it was written by. */
export interface VersionedRow extends Identity {
  readonly row: string | null;
}

/** What one generation of a flow holds in the sink. */
export interface GenerationState {
  checkpoint: Checkpoint | undefined;
  readonly fold: Map<string, string>;
  readonly targets: Map<string, Map<string, VersionedRow>>;
}

/** What a flow holds in the sink. */
export interface FlowState {
  visible: number;
  workerEpoch: number;
  readonly generations: Map<number, GenerationState>;
}

/** A value with its version and end. */
export interface KeyValueState {
  readonly value: string;
  readonly version: number;
  readonly expiresAtMs: number | undefined;
}

/** An object with its content. */
export interface ObjectState {
  readonly body: Uint8Array;
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What a log keeps over a crash. */
export interface LogState {
  /** The offset of `records[0]`. */
  first: number;
  records: LogRecord[];
  bytes: number;
  /** The last record and the last commit ever appended, kept when their records are released. */
  last: Identity | undefined;
  commit: LogRecord | undefined;
  workerEpoch: number;
}

/** What a ledger keeps over a crash. */
export interface LedgerState {
  readonly spaces: Map<string, Map<string, LedgerRecord>>;
  /** Also those given back, with an empty owner: their epoch must never be used again. */
  readonly leases: Map<string, LeaseRecord>;
}

/**
 * All that outlives a crash, apart from every session: dropping the opened object and opening
 * another one on the same state is a restart of the process. Readable by tests at any time; change
 * it only through the ports.
 */
export interface MemoryState {
  readonly source: SourceState;
  readonly flows: Map<string, FlowState>;
  readonly keyValues: Map<string, KeyValueState>;
  readonly caches: Map<string, CacheState>;
  readonly objects: Map<string, ObjectState>;
  readonly log: LogState;
  readonly ledger: LedgerState;
  /** Grows with every version that is given out: of values, objects and histories. */
  sequence: number;
  hook: MemoryHook | undefined;
  /** Called after every change of the source or the log: they wake who waits. */
  readonly wakers: Set<() => void>;
}

/** An empty state. */
export function createMemoryState(): MemoryState {
  return {
    source: {
      history: '',
      forks: [],
      tables: new Map(),
      captured: new Set(),
      transactions: [],
      head: 0,
      prunedTo: 0,
      acknowledgedTo: 0,
      workerEpoch: 0,
    },
    flows: new Map(),
    keyValues: new Map(),
    caches: new Map(),
    objects: new Map(),
    log: { first: 0, records: [], bytes: 0, last: undefined, commit: undefined, workerEpoch: 0 },
    ledger: { spaces: new Map(), leases: new Map() },
    sequence: 0,
    hook: undefined,
    wakers: new Set(),
  };
}

/** Wakes everybody who waits for the source or the log to grow. */
export function wake(state: MemoryState): void {
  for (const waker of state.wakers) waker();
}

/** One opened object's access to the state. Once closed or crashed, nothing it does reaches the state. */
export class Connection {
  readonly state: MemoryState;
  readonly name: string;
  #open = true;

  constructor(state: MemoryState, name: string) {
    this.state = state;
    this.name = name;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Ends the connection at once: what is under way never arrives. */
  drop(): void {
    this.#open = false;
    wake(this.state);
  }

  /** Throws STORE_CLOSED after the end. */
  check(): void {
    if (this.#open) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the store was used after it was closed',
      where: this.name,
      mend: 'open it again',
    });
  }

  /**
   * Runs `action` as one unit, on a later microtask, as a real store answers. `action` is
   * synchronous: that is what makes it atomic. It is given how many items may go in.
   */
  async unit<Result>(unit: MemoryUnit, action: (sizeMax: number) => Result): Promise<Result> {
    this.check();
    const { hook } = this.state;
    const torn = await hook?.before?.(unit);
    this.check();
    const result = action(typeof torn === 'number' ? torn : unit.size);
    await hook?.after?.(unit);
    this.check();
    return result;
  }

  /** Waits until the state changed, the signal aborts or the connection ends. */
  async changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted || !this.#open) return;
    const { wakers } = this.state;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        wakers.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      wakers.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
