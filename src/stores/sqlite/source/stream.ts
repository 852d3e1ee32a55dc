import { TallyError, isTallyError } from '../../../core/errors.ts';
import type { Clock, Random } from '../../../ports/clock.ts';
import type { SourceEntry, StreamOptions } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { resumeAfter, tokenOf } from './cursor.ts';
import { canonicalImage, canonicalKey, hasTaggedNames } from './image.ts';
import type { Keeper } from './keeper.ts';
import { markAfter, markForeignEnd, newestEnd } from './marks.ts';
import { isFresh, refreshTables } from './prepare.ts';
import { readText } from './schema.ts';
import type { Table } from './table.ts';
import type { Waker } from './waker.ts';

/** What a stream needs of its source. */
export interface StreamParts {
  readonly reader: Connection;
  readonly keeper: Keeper;
  readonly waker: Waker;
  readonly clock: Clock;
  readonly random: Random;
  readonly pollMs: number;
}

/**
 * Yields captured changes from the file.
 *
 * **Whole transactions.** A trigger cannot see where a transaction ends. `write()` marks the end of
 * each of its own; other programs do not. But whoever holds the write lock sees only whole
 * transactions, so that a mark put behind all of them is the end of one: the unmarked rest is yielded as
 * one transaction. **It is marked durably before anything of it is yielded.** Otherwise:
 *   1. unmarked changes 1–3 yielded as a transaction that ends at 3, the log keeps a part of it
 *   2. crash, and another program writes change 4
 *   3. after the restart the same changes are a transaction that ends at 4: other identities, and
 *      the log holds a part of them twice.
 *
 * **Bounds.** A batch is one synchronous read of at most `rowsMax` rows that stops at `bytesMax`; no read
 * stays open between batches, so a slow reader never keeps the write-ahead log from being reused.
 * Rows up to the end in sight cannot change between batches: only acknowledge() removes any, and
 * only those the log holds.
 */
export async function* streamChanges(
  parts: StreamParts,
  options: StreamOptions,
): AsyncGenerator<readonly SourceEntry[], void, undefined> {
  const { reader, waker, pollMs } = parts;
  const { signal } = options;
  const cutter = new Cutter(reader, options, resumeAfter(reader, options.after));
  let schemaVersion: number | undefined;
  let seenVersion: number | undefined;
  while (!signal.aborted) {
    // Taken before the read: a commit in between is seen by the next look at it.
    const dataVersion = pragma(reader, 'data_version');
    const sight = dataVersion === seenVersion ? undefined : inSight(reader);
    if (sight === undefined || (sight.head <= cutter.at && sight.schemaVersion === schemaVersion)) {
      seenVersion = dataVersion;
      await waker.sleep(pollMs, signal);
      continue;
    }
    try {
      if (sight.schemaVersion !== schemaVersion) {
        schemaVersion = await refresh(parts, signal);
        cutter.forgetTables();
        continue;
      }
      // What is marked need not wait for the write lock, which another program may hold for long.
      if (cutter.at >= sight.mark) {
        await parts.keeper.run(
          (connection) =>
            connection.transaction(() => markForeignEnd(connection, parts.clock.nowMs())),
          signal,
        );
        continue;
      }
    } catch (error) {
      if (signal.aborted && isTallyError(error, 'ABORTED')) return;
      throw error;
    }
    while (cutter.at < sight.mark) {
      if (signal.aborted) return;
      yield cutter.next(sight.mark);
    }
  }
}

interface Sight {
  readonly schemaVersion: number;
  readonly head: number;
  readonly mark: number;
}

/** All in one read transaction: the changes up to `head` were written under that schema or an older one. */
function inSight(reader: Connection): Sight {
  return reader.read(() => {
    const { seq, mark } = newestEnd(reader);
    return { schemaVersion: pragma(reader, 'schema_version'), head: seq, mark };
  });
}

/**
 * Brings the triggers up to the present schema and returns the version that they are right for,
 * both in one transaction: what is captured under that version has complete images.
 */
async function refresh(parts: StreamParts, signal: AbortSignal): Promise<number> {
  const unchanged = parts.reader.read(() =>
    isFresh(parts.reader) ? pragma(parts.reader, 'schema_version') : undefined,
  );
  if (unchanged !== undefined) return unchanged;
  const refreshed = await parts.keeper.run(
    (connection) =>
      connection.transaction(() => ({
        ...refreshTables(connection, parts.random),
        schemaVersion: pragma(connection, 'schema_version'),
      })),
    signal,
  );
  if (refreshed.lost.length === 0) return refreshed.schemaVersion;
  throw new TallyError('HISTORY_LOST', {
    what: `the capture of ${refreshed.lost.map((name) => `'${name}'`).join(', ')} was removed while it was in use`,
    where: parts.reader.file,
    mend: 'a table that is dropped, renamed or copied loses its triggers; prepare it again, then take a new snapshot',
    details: { tables: refreshed.lost },
  });
}

/** The columns of a row of `_tally_changes`, in the order in which they are selected. */
type Stored = ChangeRow | MarkRow;

type ChangeRow = readonly [
  seq: number,
  tbl: number,
  op: 'c' | 'u' | 'd',
  key: string,
  before: string | null,
  after: string | null,
  tag: number,
];

type MarkRow = readonly [
  seq: number,
  tbl: null,
  op: 'm',
  atMs: string,
  before: null,
  after: null,
  tag: number,
];

const operations = { c: 'create', u: 'update', d: 'delete' } as const;

/** Cuts the row of changes into batches, and knows where in a transaction it is. */
class Cutter {
  /** The last row that was handed out. */
  at: number;
  readonly #reader: Connection;
  readonly #bounds: Pick<StreamOptions, 'rowsMax' | 'bytesMax'>;
  readonly #history: string;
  #tables = new Map<number, { readonly name: string; readonly taggedNames: boolean }>();
  /** The next ordinal in the transaction that the last batch ended in, and the mark that ends it. */
  #ordinal = 0;
  #lastMark = 0;

  constructor(
    reader: Connection,
    bounds: Pick<StreamOptions, 'rowsMax' | 'bytesMax'>,
    after: number,
  ) {
    this.#reader = reader;
    this.#bounds = bounds;
    this.#history = readText(reader, 'history');
    this.at = after;
  }

  forgetTables(): void {
    this.#tables.clear();
  }

  /** The next batch, of rows up to `mark`. */
  next(mark: number): readonly SourceEntry[] {
    return this.#reader.read(() => {
      const rows = this.#rows(mark);
      const marks = this.#marksOf(rows);
      return rows.map((row, index) =>
        row[2] === 'm' ? this.#close(row) : this.#change(row, marks[index] ?? 0),
      );
    });
  }

  /** For each row the offset of the mark that ends its transaction: for the last ones, in a later batch. */
  #marksOf(rows: readonly Stored[]): readonly number[] {
    const marks: number[] = [];
    let next: number | undefined;
    for (let index = rows.length - 1; index >= 0; index--) {
      const row = rows[index];
      if (row === undefined) continue;
      if (row[2] === 'm') next = row[0];
      // A long transaction is looked up once, not once a batch.
      next ??= this.#lastMark > row[0] ? this.#lastMark : markAfter(this.#reader, row[0]);
      if (next === undefined) throw gap(this.#reader, row[0]);
      marks[index] = next;
    }
    this.#lastMark = marks.at(-1) ?? 0;
    return marks;
  }

  /** Reads within the bounds, at least one row. Advances `at`. */
  #rows(mark: number): readonly Stored[] {
    const { rowsMax, bytesMax } = this.#bounds;
    const stored = this.#reader
      .prepareArrays(
        'SELECT seq, tbl, op, key, before, after, tag FROM _tally_changes WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?',
      )
      .iterate(this.at, mark, rowsMax) as Iterable<unknown> as Iterable<Stored>;
    const rows: Stored[] = [];
    let bytes = 0;
    for (const row of stored) {
      const size = row[3].length + (row[4]?.length ?? 0) + (row[5]?.length ?? 0);
      if (bytes > 0 && bytes + size > bytesMax) break;
      bytes += size;
      if (row[0] !== this.at + 1) throw gap(this.#reader, this.at);
      rows.push(row);
      this.at = row[0];
    }
    if (rows.length === 0) throw gap(this.#reader, this.at);
    return rows;
  }

  #change(row: ChangeRow, offset: number): SourceEntry {
    const { name, taggedNames } = this.#table(row[1]);
    return {
      kind: 'change',
      offset,
      ordinal: this.#ordinal++,
      table: name,
      operation: operations[row[2]],
      key: canonicalKey(row[3]),
      before: row[4] === null ? null : canonicalImage(row[4], taggedNames),
      after: row[5] === null ? null : canonicalImage(row[5], taggedNames),
    };
  }

  #close(mark: MarkRow): SourceEntry {
    const changes = this.#ordinal;
    this.#ordinal = 0;
    return {
      kind: 'commit',
      offset: mark[0],
      changes,
      committedAtMs: Number(mark[3]),
      token: tokenOf(this.#history, mark[6]),
    };
  }

  #table(id: number): { readonly name: string; readonly taggedNames: boolean } {
    const known = this.#tables.get(id);
    if (known !== undefined) return known;
    const row = this.#reader
      .prepare('SELECT name, shape FROM _tally_captured WHERE id = ?')
      .get(id);
    if (row === undefined) throw gap(this.#reader, this.at);
    const { columns } = JSON.parse(String(row['shape'])) as Table;
    const table = { name: String(row['name']), taggedNames: hasTaggedNames(columns) };
    this.#tables.set(id, table);
    return table;
  }
}

function pragma(connection: Connection, name: 'data_version' | 'schema_version'): number {
  return Number(connection.prepare(`PRAGMA ${name}`).get()?.[name]);
}

function gap(connection: Connection, at: number): TallyError {
  return new TallyError('HISTORY_LOST', {
    what: `what follows change ${at} is not in the database any more`,
    where: connection.file,
    mend: 'the tables _tally_* were changed by somebody, or a second stream acknowledged further; take a new snapshot',
    details: { offset: at },
  });
}
