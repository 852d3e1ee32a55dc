import { answersOf } from './batch-answers.ts';
import type { Call } from './call.ts';
import type { JoinParts, LookupParts } from './join.ts';
import { planOfJoin, tooLarge, type JoinPlan } from './join-plan.ts';
import type { MemoKey } from './memo.ts';

/** What a run did in one store. */
export interface JoinCost {
  readonly store: string;
  readonly name: string;
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
  readonly #driving: Cost;
  readonly #costs: ReadonlyMap<LookupParts, Cost>;
  /** Aborts what is read ahead when nobody wants it any more. */
  readonly #left = new AbortController();
  readonly #abort: AbortSignal;
  /** By lookup, what the page before had. */
  readonly #known: Map<LookupParts, ReadonlyMap<MemoKey, unknown>>;
  #yielded = 0;
  #dropped = 0;

  constructor(parts: JoinParts, limit: number, signal: AbortSignal | undefined) {
    this.#parts = parts;
    this.#limit = limit;
    this.#abort =
      signal === undefined ? this.#left.signal : AbortSignal.any([signal, this.#left.signal]);
    this.#plan = planOfJoin(parts, limit);
    const { refused, projection } = this.#plan;
    if (refused !== undefined) throw tooLarge(parts, refused, projection);
    this.#driving = costOf(parts.guard.name, parts.name);
    this.#known = new Map(parts.lookups.map((lookup) => [lookup, new Map()]));
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
    for await (const page of this.pages()) yield* page;
  }

  async all(): Promise<Joined[]> {
    const all: Joined[] = [];
    for await (const page of this.pages()) for (const joined of page) all.push(joined);
    return all;
  }

  async *pages(): AsyncGenerator<readonly Joined[], void, undefined> {
    try {
      for (let next = this.#page(undefined, 0); ;) {
        const { rows, last } = await next;
        if (!last) {
          next = this.#page(rows.at(-1), this.#yielded + rows.length);
          // It is waited for in the next round; until then its failure is nobody's.
          next.catch(() => undefined);
        }
        const joined = (await this.#lookUp(rows)).slice(0, this.#limit - this.#yielded);
        this.#yielded += joined.length;
        if (joined.length > 0) yield joined;
        if (last || this.#yielded === this.#limit) return;
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
    const page = { after, rowsMax: size };
    const rows = (await guard.run((call) => read(page, call), {
      name: this.#parts.name,
      idempotent: true,
      signal: this.#abort,
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

  /** What there is for the rows of a page, by key. */
  async #valuesOf(
    lookup: LookupParts,
    rows: readonly Row[],
  ): Promise<ReadonlyMap<MemoKey, unknown>> {
    const known = this.#known.get(lookup);
    const cost = this.#costs.get(lookup);
    if (known === undefined || cost === undefined) return new Map();
    // Rows that follow one another are often of the same few: what the page before had is not asked for again.
    const values = new Map<MemoKey, unknown>();
    const wanted = new Set<MemoKey>();
    for (const row of rows) {
      const key = row[lookup.on] as MemoKey | null | undefined;
      if (key === undefined || key === null) continue;
      if (known.has(key)) values.set(key, known.get(key));
      else wanted.add(key);
    }
    if (wanted.size > 0) {
      const startedMs = this.#parts.guard.clock.monotonicMs();
      await this.#load(lookup, [...wanted], values, cost);
      cost.tookMs += this.#parts.guard.clock.monotonicMs() - startedMs;
    }
    this.#known.set(lookup, values);
    return values;
  }

  /** In batches side by side. What has no value is known to have none. */
  async #load(
    { guard, load, name, on, keysMax, failed }: LookupParts,
    keys: readonly MemoKey[],
    values: Map<MemoKey, unknown>,
    cost: Cost,
  ): Promise<void> {
    const options = { name: `${name} by ${on}`, idempotent: true, signal: this.#abort };
    const batches: Promise<void>[] = [];
    for (let from = 0; from < keys.length; from += keysMax) {
      const batch = keys.slice(from, from + keysMax);
      const take = (answers: readonly unknown[]): void => {
        for (const [index, key] of batch.entries()) {
          const answer = answers[index];
          if (answer instanceof Error) {
            if (failed === 'fail') throw answer;
            cost.failed += 1;
          } else {
            values.set(key, answer);
            if (answer !== undefined) cost.found += 1;
          }
        }
      };
      const read = async (call: Call): Promise<readonly unknown[]> =>
        answersOf(await load(batch, call), batch, guard.name);
      cost.calls += 1;
      cost.rows += batch.length;
      const loaded = guard.run(read, options).then(take, (error: unknown) => {
        if (failed === 'fail') throw error;
        cost.failed += batch.length;
      });
      batches.push(loaded);
    }
    await Promise.all(batches);
  }
}

function costOf(store: string, name: string): Cost {
  return { store, name, calls: 0, rows: 0, found: 0, failed: 0, tookMs: 0 };
}
