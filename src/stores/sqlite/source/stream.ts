import { TallyError, isTallyError } from '../../../core/errors.ts';
import type { Clock, Random } from '../../../ports/clock.ts';
import type { SourceEntry, StreamOptions } from '../../../ports/source.ts';
import type { Connection } from '../connection.ts';
import { resumeAfter, tokenOf } from './cursor.ts';
import { canonicalImage, canonicalKey, hasTaggedNames } from './image.ts';
import type { Keeper } from './keeper.ts';
import { isFresh, refreshTables } from './prepare.ts';
import { newestSeq, readText } from './schema.ts';
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
 * each of its own; other programs do not. But a read sees only whole transactions, so the newest
 * seq in sight is the end of one: everything up to it is yielded as whole, the unmarked rest as one
 * transaction. **That end is marked durably before anything of it is yielded.** Otherwise:
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
      if (cutter.at >= sight.markedHead) await markEnd(parts, sight.head, signal);
    } catch (error) {
      if (signal.aborted && isTallyError(error, 'ABORTED')) return;
      throw error;
    }
    const through = cutter.at < sight.markedHead ? sight.markedHead : sight.head;
    while (cutter.at < through || cutter.pending) {
      if (signal.aborted) return;
      yield cutter.next(through);
    }
  }
}

interface Sight {
  readonly schemaVersion: number;
  /** The newest change that is committed, and so the end of a transaction. */
  readonly head: number;
  /** The newest end of a transaction that is marked; at most `head`. */
  readonly markedHead: number;
}

/** Both numbers in one read transaction: all changes up to `head` were written under that schema or an older one. */
function inSight(reader: Connection): Sight {
  return reader.read(() => {
    const schemaVersion = pragma(reader, 'schema_version');
    const head = newestSeq(reader);
    const mark = reader.prepare('SELECT max(seq) AS seq FROM _tally_commits').get();
    return { schemaVersion, head, markedHead: Number(mark?.['seq'] ?? 0) };
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

async function markEnd(parts: StreamParts, head: number, signal: AbortSignal): Promise<void> {
  await parts.keeper.run((connection) => {
    connection.transaction(() =>
      connection
        .prepare('INSERT INTO _tally_commits (seq, at) VALUES (?, ?) ON CONFLICT DO NOTHING')
        .run(head, parts.clock.nowMs()),
    );
  }, signal);
}

/** The columns of a change row, in the order in which they are selected. */
type ChangeRow = readonly [
  seq: number,
  tbl: number,
  op: 'c' | 'u' | 'd',
  key: string,
  before: string | null,
  after: string | null,
  tag: number,
];

const operations = { c: 'create', u: 'update', d: 'delete' } as const;

interface Commit {
  readonly seq: number;
  readonly at: number;
}

type CommitEntry = Extract<SourceEntry, { readonly kind: 'commit' }>;

/** Cuts the row of changes into batches, and knows where in a transaction it is. */
class Cutter {
  /** The last change that was handed out. */
  at: number;
  readonly #reader: Connection;
  readonly #bounds: Pick<StreamOptions, 'rowsMax' | 'bytesMax'>;
  readonly #history: string;
  #tables = new Map<number, { readonly name: string; readonly taggedNames: boolean }>();
  #ordinal = 0;
  /** A commit for which the last batch had no room. */
  #pending: CommitEntry | undefined;

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

  get pending(): boolean {
    return this.#pending !== undefined;
  }

  forgetTables(): void {
    this.#tables.clear();
  }

  /** The next batch, of changes up to `head`, which is the end of a transaction. */
  next(head: number): readonly SourceEntry[] {
    const { rowsMax, bytesMax } = this.#bounds;
    const entries: SourceEntry[] = [];
    if (this.#pending !== undefined) entries.push(this.#pending);
    this.#pending = undefined;
    return this.#reader.read(() => {
      const commits = this.#commits(head, rowsMax);
      let commit = commits.next();
      let bytes = 0;
      const rows = this.#reader
        .prepareArrays(
          'SELECT seq, tbl, op, key, before, after, tag FROM _tally_changes WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?',
        )
        .iterate(
          this.at,
          head,
          rowsMax - entries.length,
        ) as Iterable<unknown> as Iterable<ChangeRow>;
      for (const row of rows) {
        const size = row[3].length + (row[4]?.length ?? 0) + (row[5]?.length ?? 0);
        if (entries.length >= rowsMax || (bytes > 0 && bytes + size > bytesMax)) break;
        bytes += size;
        if (commit.done === true || row[0] !== this.at + 1) throw gap(this.#reader, this.at);
        entries.push(this.#change(row, commit.value.seq));
        this.at = row[0];
        if (row[0] !== commit.value.seq) continue;
        this.#close(entries, commit.value, row[6]);
        commit = commits.next();
      }
      if (entries.length === 0) throw gap(this.#reader, this.at);
      return entries;
    });
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

  #close(entries: SourceEntry[], commit: Commit, tag: number): void {
    const entry: CommitEntry = {
      kind: 'commit',
      offset: commit.seq,
      changes: this.#ordinal,
      committedAtMs: commit.at,
      token: tokenOf(this.#history, tag),
    };
    this.#ordinal = 0;
    if (entries.length < this.#bounds.rowsMax) entries.push(entry);
    else this.#pending = entry;
  }

  #commits(head: number, rowsMax: number): IterableIterator<Commit> {
    const rows = this.#reader
      .prepare('SELECT seq, at FROM _tally_commits WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?')
      .all(this.at, head, rowsMax);
    return (rows as unknown as Commit[]).values();
  }

  #table(id: number): { readonly name: string; readonly taggedNames: boolean } {
    const known = this.#tables.get(id);
    if (known !== undefined) return known;
    const row = this.#reader
      .prepare('SELECT name, shape FROM _tally_captured WHERE id = ?')
      .get(id);
    if (row === undefined) throw gap(this.#reader, this.at);
    const { columns } = JSON.parse(String(row['shape'])) as Table;
    const table = {
      name: String(row['name']),
      taggedNames: hasTaggedNames(columns),
    };
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
