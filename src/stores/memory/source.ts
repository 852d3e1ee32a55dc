import { decodeKey, decodeRow, encodeKey } from '../../core/codec.ts';
import { TallyError } from '../../core/errors.ts';
import type { Key, Row } from '../../core/row.ts';
import { EVENTS_TABLE } from '../../ports/append.ts';
import type { Clock } from '../../ports/clock.ts';
import type {
  Committed,
  SnapshotChunk,
  SnapshotOptions,
  Source,
  SourceCursor,
  SourceEntry,
  SourceSupports,
  StreamOptions,
  TableShape,
} from '../../ports/source.ts';
import {
  wake,
  type Connection,
  type SourceState,
  type TableState,
  type TransactionState,
} from './state.ts';
import { compareKeys, inKeyOrder, unknownTable } from './tables.ts';
import { OpenTransaction, type MemoryTransaction, type PendingChange } from './transaction.ts';

/** What the memory source can do. */
export const memorySourceSupports: SourceSupports = {
  beforeImages: true,
  foreignWrites: true,
  transactionBoundaries: 'each',
  exactSnapshot: true,
};

/** Serialises the transactions of all connections to one state, as a lock in a store would. */
const writing = new WeakMap<SourceState, Promise<unknown>>();

/** The source of a memory store: tables in Maps, and the transactions not yet acknowledged. */
export class MemorySource implements Source<MemoryTransaction> {
  readonly supports: SourceSupports = memorySourceSupports;
  readonly #connection: Connection;
  readonly #clock: Clock;

  constructor(connection: Connection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
  }

  async prepare(tables: readonly string[]): Promise<readonly TableShape[]> {
    return this.#unit('prepare', tables.length, (source) => {
      const shapes = tables.map((name) => this.#table(name));
      for (const { name, key } of shapes)
        if (key.length === 0)
          throw new TallyError('TABLE_UNSUPPORTED', {
            what: `table ${name} has no primary key`,
            where: this.#connection.name,
            mend: 'give it one: changes are matched by key',
            details: { table: name },
          });
      for (const { name } of shapes) source.captured.add(name);
      return shapes.map(({ name, key, columns }) => ({ name, key, columns }));
    });
  }

  async history(): Promise<string> {
    return this.#unit('history', 0, (source) => source.history);
  }

  async continues(before: string, cursor: SourceCursor): Promise<number | undefined> {
    return this.#unit(
      'continues',
      0,
      ({ forks }) => forks.find(({ from, upTo }) => from === before && cursor.offset <= upTo)?.upTo,
    );
  }

  async head(): Promise<number> {
    return this.#unit('head', 0, (source) => source.head);
  }

  async claim(workerEpoch: number): Promise<void> {
    await this.#unit('claim', 1, (source) => {
      fence(source, workerEpoch);
      source.workerEpoch = workerEpoch;
    });
  }

  async *stream(options: StreamOptions): AsyncIterable<readonly SourceEntry[]> {
    let after = await this.#unit('stream', 0, (source) =>
      options.after === undefined ? source.prunedTo : this.#resume(source, options.after),
    );
    let ordinal = 0;
    while (!options.signal.aborted && this.#connection.open) {
      // The wait starts in the same turn as the look, so that no commit can fall in between.
      const found = nextTransaction(this.#connection.state.source, after);
      if (found === undefined) {
        await this.#connection.changed(options.signal);
        continue;
      }
      const read = await this.#unit('read', 0, (source) => {
        if (source.prunedTo > after) throw this.#lost('what comes next was let go of meanwhile');
        return batchOf(source, after, ordinal, options);
      });
      ({ after, ordinal } = read);
      if (options.signal.aborted) return;
      yield read.entries;
    }
  }

  async acknowledge(cursor: SourceCursor, workerEpoch: number): Promise<void> {
    await this.#unit('acknowledge', 1, (source) => {
      fence(source, workerEpoch);
      if (cursor.offset <= source.acknowledgedTo) return;
      this.#resume(source, cursor);
      source.acknowledgedTo = cursor.offset;
      source.prunedTo = cursor.offset;
      source.transactions = source.transactions.filter(({ offset }) => offset > cursor.offset);
    });
  }

  async *snapshot(options: SnapshotOptions): AsyncIterable<SnapshotChunk> {
    // One turn of the event loop reads it all, so no transaction can come in between.
    const session = await this.#unit('snapshot', options.tables.length, (source) => ({
      at: source.head,
      tables: options.tables.map((name) => ({
        name,
        rows: this.#rowsAfter(name, options.resume?.[name]),
      })),
    }));
    for (const { name, rows } of session.tables) {
      if (rows === undefined) continue;
      let from = 0;
      do {
        const to = chunkEnd(rows, from, options);
        await this.#unit('read', to - from, () => undefined);
        if (options.signal.aborted) return;
        const chunk = inKeyOrder(rows.slice(from, to));
        const tableDone = to === rows.length;
        // The key of an event is its position.
        const inOrder = name === EVENTS_TABLE ? { inOrder: true as const } : {};
        yield { table: name, rows: chunk, at: session.at, tableDone, ...inOrder };
        from = to;
      } while (from < rows.length);
    }
  }

  async lookup(
    table: string,
    keys: readonly Key[],
  ): Promise<{ at: number; rows: readonly (Row | null)[] }> {
    return this.#unit('lookup', keys.length, (source) => {
      const { rows } = this.#table(table);
      const texts = keys.map((key) => rows.get(encodeKey(key)));
      return {
        at: source.head,
        rows: texts.map((text) => (text === undefined ? null : decodeRow(text))),
      };
    });
  }

  /** Transactions run one after the other; one started inside another would wait for itself. */
  async write<Result>(
    work: (tx: MemoryTransaction) => Result | Promise<Result>,
  ): Promise<Committed<Result>> {
    this.#connection.check();
    const { source } = this.#connection.state;
    const turn = writing.get(source) ?? Promise.resolve();
    const mine = turn.then(() => this.#transact(work));
    writing.set(
      source,
      mine.catch(() => undefined),
    );
    return mine;
  }

  async retained(): Promise<{ rows: number; bytes: number }> {
    return this.#unit('retained', 0, ({ transactions }) => {
      const changes = transactions.flatMap(({ entries }) =>
        entries.filter((entry) => entry.kind === 'change'),
      );
      return {
        rows: changes.length,
        bytes: changes.reduce((sum, entry) => sum + sizeOf(entry), 0),
      };
    });
  }

  async #transact<Result>(
    work: (tx: MemoryTransaction) => Result | Promise<Result>,
  ): Promise<Committed<Result>> {
    this.#connection.check();
    const tx = new OpenTransaction(this.#connection.state.source);
    try {
      const value = await work(tx);
      const offset = await this.#unit('commit', tx.changes.length, (source) => {
        commit(source, tx.changes, this.#clock.nowMs());
        wake(this.#connection.state);
        return source.head;
      });
      return { value, offset };
    } finally {
      tx.end();
    }
  }

  #unit<Result>(
    operation: string,
    size: number,
    action: (source: SourceState) => Result,
  ): Promise<Result> {
    const { state } = this.#connection;
    return this.#connection.unit({ port: 'source', operation, size }, () => action(state.source));
  }

  #table(name: string): TableState {
    const { source } = this.#connection.state;
    const table = source.tables.get(name);
    if (table === undefined) throw unknownTable(source, name);
    return table;
  }

  #rowsAfter(
    name: string,
    resume: Key | 'done' | undefined,
  ): readonly (readonly [string, string])[] | undefined {
    if (resume === 'done') return undefined;
    const rows = [...this.#table(name).rows].map((entry) => ({ entry, key: decodeKey(entry[0]) }));
    return rows
      .filter(({ key }) => resume === undefined || compareKeys(key, resume) > 0)
      .toSorted((left, right) => compareKeys(left.key, right.key))
      .map(({ entry }) => entry);
  }

  /** The offset to go on after; throws unless the token proves that its history is this one. */
  #resume(source: SourceState, cursor: SourceCursor): number {
    if (cursor.token !== tokenOf(source, cursor.offset) && !isOfFork(source, cursor))
      throw this.#lost('the token is of another history');
    if (cursor.offset > source.head)
      throw this.#lost(`the history ends at ${source.head}, before the token`);
    if (cursor.offset < source.prunedTo)
      throw this.#lost(`changes up to ${source.prunedTo} were let go of`);
    return cursor.offset;
  }

  #lost(what: string): TallyError {
    return new TallyError('HISTORY_LOST', {
      what,
      where: this.#connection.name,
      mend: 'take a new snapshot of the tables',
    });
  }
}

function tokenOf(source: SourceState, offset: number): string {
  return `${source.history}@${offset}`;
}

/** Whether a cursor is of the history that this one goes on from, before they parted. */
function isOfFork({ forks }: SourceState, { offset, token }: SourceCursor): boolean {
  return forks.some(({ from, upTo }) => offset <= upTo && token === `${from}@${offset}`);
}

function fence(source: SourceState, workerEpoch: number): void {
  if (workerEpoch >= source.workerEpoch) return;
  throw new TallyError('FENCED_OUT', {
    what: `a worker of epoch ${workerEpoch} was replaced by one of epoch ${source.workerEpoch}`,
    mend: 'nothing; the newer worker goes on',
    details: { workerEpoch, holder: source.workerEpoch },
  });
}

/** Puts a transaction into the tables and the history, in one go. Tables not captured leave a bare commit. */
function commit(source: SourceState, changes: readonly PendingChange[], nowMs: number): void {
  if (changes.length === 0) return;
  const offset = source.head + 1;
  const captured = changes.filter(({ table }) => source.captured.has(table));
  const entries: SourceEntry[] = captured.map((change, ordinal) =>
    change.operation === 'truncate'
      ? { kind: 'reread', offset, ordinal, table: change.table, why: 'it was truncated' }
      : { kind: 'change', offset, ordinal, ...change },
  );
  entries.push({
    kind: 'commit',
    offset,
    changes: captured.length,
    committedAtMs: nowMs,
    token: tokenOf(source, offset),
  });
  for (const change of changes) {
    const rows = source.tables.get(change.table)?.rows;
    if (change.operation === 'truncate') rows?.clear();
    else if (change.after === null) rows?.delete(change.key);
    else rows?.set(change.key, change.after);
  }
  source.transactions.push({ offset, entries });
  source.head = offset;
}

function nextTransaction(source: SourceState, after: number): TransactionState | undefined {
  const first = source.transactions[0];
  // Offsets have no gaps, so the place of a transaction is known.
  return first === undefined
    ? undefined
    : source.transactions[Math.max(0, after + 1 - first.offset)];
}

/** Entries after a place (`ordinal` of them within the next transaction already read), up to the bounds. */
function batchOf(
  source: SourceState,
  start: number,
  startOrdinal: number,
  bounds: { readonly rowsMax: number; readonly bytesMax: number },
): { readonly entries: readonly SourceEntry[]; readonly after: number; readonly ordinal: number } {
  const entries: SourceEntry[] = [];
  let after = start;
  let ordinal = startOrdinal;
  let rows = 0;
  let bytes = 0;
  for (
    let found = nextTransaction(source, after);
    found !== undefined;
    found = nextTransaction(source, after)
  ) {
    for (const entry of found.entries.slice(ordinal)) {
      rows += 1;
      bytes += sizeOf(entry);
      if (entries.length > 0 && (rows > bounds.rowsMax || bytes > bounds.bytesMax))
        return { entries, after, ordinal };
      entries.push(entry);
      ordinal += 1;
    }
    after = found.offset;
    ordinal = 0;
  }
  return { entries, after, ordinal };
}

function sizeOf(entry: SourceEntry): number {
  if (entry.kind !== 'change') return 0;
  return entry.key.length + (entry.before?.length ?? 0) + (entry.after?.length ?? 0);
}

function chunkEnd(
  rows: readonly (readonly [string, string])[],
  from: number,
  bounds: { readonly rowsMax: number; readonly bytesMax: number },
): number {
  let bytes = 0;
  let to = from;
  while (to < rows.length && to - from < bounds.rowsMax) {
    bytes += rows[to]?.[1].length ?? 0;
    if (to > from && bytes > bounds.bytesMax) break;
    to += 1;
  }
  return to;
}
