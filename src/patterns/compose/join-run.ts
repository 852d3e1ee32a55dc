import type { JoinParts, LookupParts } from './join.ts';
import { planOfJoin, tooLarge, type JoinPlan } from './join-plan.ts';
import type { MemoKey } from './memo.ts';

/** What a run did in one store. */
export interface JoinCost {
  readonly store: string;
  readonly name: string;
  /** Calls, by the number of keys and of pages; what the request remembered already made none. */
  readonly calls: number;
  /** Rows read, or keys looked up. */
  readonly rows: number;
  readonly found: number;
  /** Keys that failed and were left out. */
  readonly failed: number;
  /** The sum over pages of how long it was waited for. */
  readonly tookMs: number;
}

/** What a run has done so far. */
export interface JoinReport {
  readonly costs: readonly JoinCost[];
  readonly rows: number;
  readonly dropped: number;
}

type Row = Readonly<Record<string, unknown>>;
type Joined = Readonly<Record<string, unknown>> & { readonly row: Row };

interface Cost {
  readonly store: string;
  readonly name: string;
  calls: number;
  rows: number;
  found: number;
  failed: number;
  tookMs: number;
}

/** One run of a join. Iterated once. */
export class JoinRun implements AsyncIterable<Joined> {
  readonly #parts: JoinParts;
  readonly #limit: number;
  readonly #plan: JoinPlan;
  readonly #signal: AbortSignal | undefined;
  readonly #driving: Cost;
  readonly #costs: ReadonlyMap<LookupParts, Cost>;
  /** Aborts what is read ahead when nobody wants it any more. */
  readonly #left = new AbortController();
  #yielded = 0;
  #dropped = 0;

  constructor(parts: JoinParts, limit: number, signal: AbortSignal | undefined) {
    this.#parts = parts;
    this.#limit = limit;
    this.#signal = signal;
    this.#plan = planOfJoin(parts, limit);
    const { refused, projection } = this.#plan;
    if (refused !== undefined) throw tooLarge(parts, refused, projection);
    this.#driving = costOf(parts.guard.name, parts.name);
    this.#costs = new Map(
      parts.lookups.map((lookup) => [lookup, costOf(lookup.guard.name, lookup.name)]),
    );
  }

  report(): JoinReport {
    return {
      costs: [this.#driving, ...this.#costs.values()].map((cost) => ({ ...cost })),
      rows: this.#yielded,
      dropped: this.#dropped,
    };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Joined, void, undefined> {
    try {
      for (let next = this.#page(undefined, 0); ;) {
        const { rows, last } = await next;
        if (!last) {
          next = this.#page(rows.at(-1), this.#yielded + rows.length);
          // It is waited for in the next round; until then its failure is nobody's.
          next.catch(() => undefined);
        }
        for (const joined of await this.#lookUp(rows)) {
          this.#yielded += 1;
          yield joined;
          if (this.#yielded === this.#limit) return;
        }
        if (last) return;
      }
    } finally {
      this.#left.abort();
    }
  }

  /** `certain`: rows that are yielded before this page if none is dropped. */
  async #page(
    after: Row | undefined,
    certain: number,
  ): Promise<{ readonly rows: readonly Row[]; readonly last: boolean }> {
    const { guard, read, pageRows, rowsMax, callsMax } = this.#parts;
    const { readsOn, projection } = this.#plan;
    const wanted = readsOn ? pageRows : Math.min(pageRows, this.#limit - certain);
    const size = Math.min(wanted, rowsMax - this.#driving.rows);
    if (size <= 0 || this.#calls() >= callsMax)
      throw tooLarge(
        this.#parts,
        `${this.#driving.rows} rows and ${this.#calls()} calls have given ${this.#yielded} of ${this.#limit} rows, and its bounds are ${rowsMax} and ${callsMax}`,
        projection,
      );
    const startedMs = this.#parts.guard.clock.monotonicMs();
    const signal =
      this.#signal === undefined
        ? this.#left.signal
        : AbortSignal.any([this.#signal, this.#left.signal]);
    const page = { after, rowsMax: size };
    const rows = (await guard.run((call) => read(page, call), {
      name: this.#parts.name,
      idempotent: true,
      signal,
    })) as readonly Row[];
    this.#driving.calls += 1;
    this.#driving.rows += rows.length;
    this.#driving.found += rows.length;
    this.#driving.tookMs += this.#parts.guard.clock.monotonicMs() - startedMs;
    const enough = !readsOn && certain + rows.length >= this.#limit;
    return { rows: rows.slice(0, size), last: enough || rows.length < size };
  }

  #calls(): number {
    let calls = this.#driving.calls;
    for (const cost of this.#costs.values()) calls += cost.calls;
    return calls;
  }

  async #lookUp(rows: readonly Row[]): Promise<readonly Joined[]> {
    const { lookups } = this.#parts;
    if (rows.length === 0) return [];
    const found = await Promise.all(lookups.map((lookup) => this.#valuesOf(lookup, rows)));
    const joined: Joined[] = [];
    for (const row of rows) {
      const out: Record<string, unknown> & { row: Row } = { row };
      let drop = false;
      for (const [index, lookup] of lookups.entries()) {
        const value = found[index]?.get(row[lookup.on] as MemoKey);
        drop ||= value === undefined && lookup.missing === 'drop';
        out[lookup.name] = value;
      }
      if (drop) this.#dropped += 1;
      else joined.push(out);
    }
    return joined;
  }

  async #valuesOf(
    lookup: LookupParts,
    rows: readonly Row[],
  ): Promise<ReadonlyMap<MemoKey, unknown>> {
    const cost = this.#costs.get(lookup);
    const keys = new Set<MemoKey>();
    for (const row of rows) {
      const key = row[lookup.on];
      if (key !== undefined && key !== null) keys.add(key as MemoKey);
    }
    const values = new Map<MemoKey, unknown>();
    if (cost === undefined || keys.size === 0) return values;
    const startedMs = this.#parts.guard.clock.monotonicMs();
    const wanted = [...keys];
    const settled =
      lookup.failed === 'fail'
        ? (await lookup.loader.loadMany(wanted)).map((value) => ({ value }))
        : await lookup.loader.loadSettled(wanted);
    for (const [index, one] of settled.entries()) {
      const key = wanted[index];
      if (!('value' in one)) cost.failed += 1;
      else if (key !== undefined && one.value !== undefined) values.set(key, one.value);
    }
    cost.calls += Math.ceil(wanted.length / lookup.keysMax);
    cost.rows += wanted.length;
    cost.found += values.size;
    cost.tookMs += this.#parts.guard.clock.monotonicMs() - startedMs;
    return values;
  }
}

function costOf(store: string, name: string): Cost {
  return { store, name, calls: 0, rows: 0, found: 0, failed: 0, tookMs: 0 };
}
