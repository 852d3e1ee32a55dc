import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../../ports/clock.ts';
import { captureSite, type Site } from './call-site.ts';

/** Queries of one request that are kept. A request with more has its finding long since. */
const ENTRIES_MAX = 10_000;

/** One query, or one call through a guard, of a request. */
export interface LogEntry {
  readonly store: string;
  /** The same for queries that differ in their values only. */
  readonly fingerprint: string;
  /** `query`: a watched client saw it. `call`: a guard made it. */
  readonly kind: 'query' | 'call';
  /** On the monotonic clock. */
  readonly startedMs: number;
  /** Undefined while it is under way. */
  readonly endedMs: number | undefined;
  readonly site: Site | undefined;
  /** A call whose queries were seen as well: those count, not it. */
  covered: boolean;
  end(): void;
}

/** What one request has asked of its stores, bounded. */
export class QueryLog {
  readonly #clock: Clock;
  readonly #withSites: boolean;
  readonly #entries: Entry[] = [];
  /** Entries that were not kept. */
  dropped = 0;

  constructor(clock: Clock, sites: 'with call sites' | 'without call sites') {
    this.#clock = clock;
    this.#withSites = sites === 'with call sites';
  }

  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** Notes that a query begins; its `end` is to be called. Undefined if the log is full. */
  begin(store: string, fingerprint: string, kind: LogEntry['kind']): LogEntry | undefined {
    if (this.#entries.length >= ENTRIES_MAX) {
      this.dropped += 1;
      return undefined;
    }
    const entry = new Entry(this.#clock, store, fingerprint, kind);
    if (this.#withSites) entry.site = captureSite();
    this.#entries.push(entry);
    return entry;
  }
}

class Entry implements LogEntry {
  readonly store: string;
  readonly fingerprint: string;
  readonly kind: LogEntry['kind'];
  readonly startedMs: number;
  readonly #clock: Clock;
  endedMs: number | undefined;
  site: Site | undefined;
  covered = false;

  constructor(clock: Clock, store: string, fingerprint: string, kind: LogEntry['kind']) {
    this.#clock = clock;
    this.store = store;
    this.fingerprint = fingerprint;
    this.kind = kind;
    this.startedMs = clock.monotonicMs();
  }

  end(): void {
    this.endedMs ??= this.#clock.monotonicMs();
  }
}

const storage = new AsyncLocalStorage<QueryLog>();

/** The log of the request that this is part of, if it keeps one. */
export function currentQueryLog(): QueryLog | undefined {
  return storage.getStore();
}

/** Runs `work` with a log. */
export function runWithQueryLog<Result>(log: QueryLog, work: () => Result): Result {
  return storage.run(log, work);
}
