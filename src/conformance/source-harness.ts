import assert from 'node:assert/strict';
import { decodeRow, encodeValue, encodeKey } from '../core/codec.ts';
import type { Key, Row } from '../core/row.ts';
import type { Clock } from '../ports/clock.ts';
import type {
  SnapshotChunk,
  SnapshotOptions,
  Source,
  SourceCursor,
  SourceEntry,
  SourceSupports,
} from '../ports/source.ts';
import type { SuiteRunner } from './harness.ts';
import { canonical, type ColumnKind, type SuiteTable } from './sink-harness.ts';

/** Every table that the source suite reads and writes. Rows carry all columns. */
export const sourceTables: readonly SuiteTable[] = [
  { name: 'products', key: ['sku'], columns: { sku: 'text', name: 'text', price: 'whole' } },
  { name: 'stock', key: ['shop', 'bin'], columns: { shop: 'text', bin: 'whole', count: 'whole' } },
  {
    name: 'kinds',
    key: ['id'],
    columns: {
      id: 'text',
      text: 'text',
      whole: 'whole',
      fraction: 'fraction',
      big: 'big',
      bytes: 'bytes',
      boolean: 'boolean',
      list: 'list',
      object: 'object',
    },
  },
];

/** One statement of an application, in no store's language. */
export type SourceStep =
  | { readonly kind: 'insert'; readonly table: string; readonly row: Row }
  /** Sets every column of the row under `key`; the row may have another key. */
  | { readonly kind: 'update'; readonly table: string; readonly key: Key; readonly row: Row }
  | { readonly kind: 'delete'; readonly table: string; readonly key: Key };

/** One source under test: durable state that outlives the connections made to it. */
export interface SourceSubject {
  readonly source: Source<unknown>;
  /** Does one statement in the application's transaction, with the native means of the store. */
  run(tx: unknown, step: SourceStep): void | Promise<void>;
  /** Drops the connection as a crash would, and connects to the same durable state again. */
  reopen(): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** What {@link sourceConformance} needs of an adapter. */
export interface SourceConformanceOptions extends SuiteRunner {
  readonly supports: SourceSupports;
  /** A fresh subject with the tables of {@link sourceTables}, empty. Two subjects are two histories. */
  readonly open: () => Promise<SourceSubject>;
  /** Kinds of columns whose values the store's tables keep: text, whole and fraction at least. */
  readonly kinds: readonly ColumnKind[];
  readonly clock: Clock;
  /** How long a case waits for what must come before it fails; 10 s if not given. */
  readonly patienceMs?: number;
  /** One transaction of a program that knows nothing of the coordinator; needed if the manifest says `foreignWrites`. */
  readonly foreignWrite?: (subject: SourceSubject, steps: readonly SourceStep[]) => Promise<void>;
  /**
   * What the offset of a write says. `own` (if not given): it is that of its own commit, which no other write has.
   * `covering`: it is at or after its own commit, and not after the head; concurrent writes may share one.
   */
  readonly evidence?: 'own' | 'covering';
  /** Empties a table in the application's transaction in a way that the source does not log row by row, if there is one. */
  readonly truncate?: (tx: unknown, table: string) => void | Promise<void>;
  /** Creates a table without a primary key, where the store can have one. */
  readonly createKeylessTable?: (subject: SourceSubject, name: string) => Promise<void>;
}

/** One named policy of the suite. Two cases with one id are a pair: what a source does, or how it does not. */
export interface SourceCase {
  readonly id: string;
  readonly policy: string;
  readonly when?: (options: SourceConformanceOptions) => boolean;
  readonly run: (bench: SourceBench) => Promise<void>;
}

/** The change entries of a stream. */
export type ChangeEntry = Extract<SourceEntry, { kind: 'change' }>;
/** The commit entries of a stream. */
export type CommitEntry = Extract<SourceEntry, { kind: 'commit' }>;

const PATIENCE_MS = 10_000;
const WIDE: { readonly rowsMax: number; readonly bytesMax: number } = {
  rowsMax: 10_000,
  bytesMax: 64 * 2 ** 20,
};

/** A row of `products`. */
export function item(sku: string, name: string, price = 100): Row {
  return { sku, name, price };
}

/** Inserts a product. */
export function insert(sku: string, name: string = sku): SourceStep {
  return { kind: 'insert', table: 'products', row: item(sku, name) };
}

/** Updates a product under its key. */
export function update(sku: string, name: string): SourceStep {
  return { kind: 'update', table: 'products', key: [sku], row: item(sku, name) };
}

/** Deletes a product. */
export function remove(sku: string): SourceStep {
  return { kind: 'delete', table: 'products', key: [sku] };
}

/** The changes among entries. */
export function changesOf(entries: readonly SourceEntry[]): readonly ChangeEntry[] {
  return entries.filter((entry) => entry.kind === 'change');
}

/** The commits among entries. */
export function commitsOf(entries: readonly SourceEntry[]): readonly CommitEntry[] {
  return entries.filter((entry) => entry.kind === 'commit');
}

/** The place after a commit. */
export function cursorAt(commit: CommitEntry | undefined): SourceCursor {
  assert.ok(commit, 'the stream holds no such commit');
  return { offset: commit.offset, token: commit.token };
}

/** A change in few words: operation, key and the name after. */
export function told(change: ChangeEntry): string {
  const name = change.after === null ? undefined : decodeRow(change.after)['name'];
  const suffix =
    change.after === null ? '' : ` ${typeof name === 'string' ? name : encodeValue(name ?? null)}`;
  return `${change.operation} ${change.key}${suffix}`;
}

/** Whether a batch holds nothing but places up to which nothing is missing. */
export function isQuiet(entries: readonly SourceEntry[]): boolean {
  return entries.every((entry) => entry.kind === 'commit' && entry.changes === 0);
}

/** Asserts what every stream of entries keeps: see the port's SourceEntry. */
function wellFormed(entries: readonly SourceEntry[]): void {
  let offset = -1;
  let changes: Exclude<SourceEntry, CommitEntry>[] = [];
  for (const entry of entries) {
    assert.ok(entry.offset > offset, `offset ${entry.offset} does not follow ${offset}`);
    if (entry.kind === 'commit') {
      assert.equal(entry.changes, changes.length, 'a commit counts its changes');
      if (changes[0] !== undefined) assert.ok(entry.offset >= changes[0].offset);
      assert.ok(entry.token.length > 0);
      offset = entry.offset;
      changes = [];
      continue;
    }
    assert.equal(entry.ordinal, changes.length, 'ordinals count from 0 in each transaction');
    assert.equal(entry.offset, changes[0]?.offset ?? entry.offset, 'a transaction has one offset');
    changes.push(entry);
    if (entry.kind === 'reread') {
      assert.ok(entry.why.length > 0, 'a table to be read again has a reason');
      continue;
    }
    assert.equal(entry.after === null, entry.operation === 'delete');
    if (entry.operation === 'create') assert.equal(entry.before, null);
  }
  assert.deepEqual(changes, [], 'a transaction ends with its commit');
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A subject with the steps that cases are written in. */
export class SourceBench {
  readonly subject: SourceSubject;
  readonly options: SourceConformanceOptions;

  constructor(subject: SourceSubject, options: SourceConformanceOptions) {
    this.subject = subject;
    this.options = options;
  }

  get source(): Source<unknown> {
    return this.subject.source;
  }

  get supports(): SourceSupports {
    return this.options.supports;
  }

  get hasOwnEvidence(): boolean {
    return (this.options.evidence ?? 'own') === 'own';
  }

  get patienceMs(): number {
    return this.options.patienceMs ?? PATIENCE_MS;
  }

  /** Commits one transaction of these statements; its offset. */
  async commit(...steps: readonly SourceStep[]): Promise<number> {
    const { offset } = await this.source.write(async (tx) => {
      for (const step of steps) await this.subject.run(tx, step);
    });
    return offset;
  }

  /** Reads the stream after a place until the commit at `through`; fails if that does not come. */
  async collect(
    after: SourceCursor | undefined,
    through: number,
    bounds: { readonly rowsMax: number; readonly bytesMax: number } = WIDE,
  ): Promise<readonly SourceEntry[]> {
    const entries = (await this.batches(after, through, bounds)).flat();
    // The last batch may go on into a transaction that ends in the next one.
    const whole = entries.slice(0, entries.findLastIndex(({ kind }) => kind === 'commit') + 1);
    wellFormed(whole);
    return whole;
  }

  /** {@link collect}, batch by batch. */
  async batches(
    after: SourceCursor | undefined,
    through: number,
    bounds: { readonly rowsMax: number; readonly bytesMax: number } = WIDE,
  ): Promise<readonly (readonly SourceEntry[])[]> {
    const batches: (readonly SourceEntry[])[] = [];
    if (after !== undefined && after.offset >= through) return batches;
    const ending = new AbortController();
    const cancel = this.options.clock.after(this.patienceMs, () => ending.abort());
    let reached = false;
    try {
      for await (const batch of this.source.stream({ after, ...bounds, signal: ending.signal })) {
        batches.push(batch);
        reached = batch.some((entry) => entry.kind === 'commit' && entry.offset >= through);
        if (reached) break;
      }
    } finally {
      cancel();
      ending.abort();
    }
    assert.ok(reached, `the stream did not come to the commit at ${through}`);
    return batches;
  }

  /** Everything from the oldest change kept up to a transaction that is committed now. */
  async everything(): Promise<readonly SourceEntry[]> {
    return this.collect(undefined, await this.commit(insert(`end-${await this.source.head()}`)));
  }

  /** Takes a whole snapshot; its chunks. */
  async snapshot(options: Partial<SnapshotOptions> = {}): Promise<readonly SnapshotChunk[]> {
    const chunks: SnapshotChunk[] = [];
    const never = new AbortController();
    const { signal } = never;
    for await (const chunk of this.source.snapshot({
      tables: ['products'],
      ...WIDE,
      signal,
      ...options,
    }))
      chunks.push(chunk);
    return chunks;
  }

  /** Fails the case if `promise` does not settle within the patience. */
  async soon<Result>(promise: Promise<Result>, what: string): Promise<Result> {
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = this.options.clock.after(this.patienceMs, () =>
        reject(new assert.AssertionError({ message: what })),
      );
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      cancel();
    }
  }
}

/** Rows by canonical key text, to canonical row text. */
export type Model = Map<string, string>;

/** The rows of one table in snapshot chunks. */
export function modelOf(chunks: readonly SnapshotChunk[], table: string): Model {
  const rows = chunks.filter((chunk) => chunk.table === table).flatMap((chunk) => chunk.rows);
  const model: Model = new Map(rows.map(({ key, row }) => [encodeKey(key), canonical(row)]));
  assert.equal(model.size, rows.length, 'a snapshot shows a row once');
  return model;
}

/** Applies a change to a model; what it says of the row before must be so. */
export function applyStrictly(model: Model, change: ChangeEntry): void {
  const held = model.get(change.key);
  assert.equal(
    held === undefined,
    change.operation === 'create',
    `${change.operation} of ${change.key} at ${change.offset}`,
  );
  if (change.before !== null) assert.equal(canonical(decodeRow(change.before)), held);
  applyLoosely(model, change);
}

/** Applies a change to a model, whatever it holds. */
export function applyLoosely(model: Model, change: ChangeEntry): void {
  if (change.after === null) model.delete(change.key);
  else model.set(change.key, canonical(decodeRow(change.after)));
}
