import { decodeRow, encodeKey, encodeValue } from '../../core/codec.ts';
import { must, TallyError } from '../../core/errors.ts';
import type { Key, Row } from '../../core/row.ts';
import type { SourceState, TableState } from './state.ts';
import { unknownTable } from './tables.ts';

/** What the application's transaction may do; everything is undone if its function throws. */
export interface MemoryTransaction {
  /** Adds a row. Throws WRITE_REFUSED if its key is there already. */
  insert(table: string, row: Row): void;
  /** Adds a row or replaces the one with its key. */
  put(table: string, row: Row): void;
  /** Replaces the whole row under `key`; a row with another key moves it. Throws WRITE_REFUSED if there is none. */
  update(table: string, key: Key, row: Row): void;
  /** Removes a row; whether there was one. */
  delete(table: string, key: Key): boolean;
  /** Removes all rows at once; captured as a table that has to be read again. */
  truncate(table: string): void;
  /** The row as this transaction sees it. */
  get(table: string, key: Key): Row | undefined;
}

/** A change made in a transaction, before it has a position. */
export type PendingChange = PendingRow | PendingTruncation;

interface PendingTruncation {
  readonly table: string;
  readonly operation: 'truncate';
}

interface PendingRow {
  readonly table: string;
  readonly operation: 'create' | 'update' | 'delete';
  readonly key: string;
  readonly before: string | null;
  readonly after: string | null;
}

/** The key of a row, as canonical text. */
function keyOf(table: TableState, row: Row): string {
  return encodeKey(
    table.key.map((column) => {
      const value = row[column];
      const scalar = value === null || typeof value !== 'object' || value instanceof Uint8Array;
      if (value === undefined || value === null || !scalar)
        throw refused(table.name, `a row has no usable value in its key column ${column}`);
      return value;
    }),
  );
}

/** A transaction over the tables: its changes are kept apart until they are put in as one unit. */
export class OpenTransaction implements MemoryTransaction {
  readonly changes: PendingChange[] = [];
  readonly #source: SourceState;
  readonly #seen: Map<string, Map<string, string | null>> = new Map();
  #open = true;

  constructor(source: SourceState) {
    this.#source = source;
  }

  insert(table: string, row: Row): void {
    const state = this.#table(table);
    const key = keyOf(state, row);
    if (this.#present(state, key) !== null)
      throw refused(table, `a row with key ${key} is there already`);
    this.#record(state, 'create', key, null, encodeValue(row));
  }

  put(table: string, row: Row): void {
    const state = this.#table(table);
    const key = keyOf(state, row);
    const before = this.#present(state, key);
    this.#record(state, before === null ? 'create' : 'update', key, before, encodeValue(row));
  }

  update(table: string, key: Key, row: Row): void {
    const state = this.#table(table);
    const old = encodeKey(key);
    const before = this.#present(state, old);
    if (before === null) throw refused(table, `there is no row with key ${old}`);
    const key2 = keyOf(state, row);
    const after = encodeValue(row);
    if (key2 === old) {
      this.#record(state, 'update', old, before, after);
      return;
    }
    if (this.#present(state, key2) !== null)
      throw refused(table, `a row with key ${key2} is there already`);
    this.#record(state, 'delete', old, before, null);
    this.#record(state, 'create', key2, null, after);
  }

  delete(table: string, key: Key): boolean {
    const state = this.#table(table);
    const text = encodeKey(key);
    const before = this.#present(state, text);
    if (before === null) return false;
    this.#record(state, 'delete', text, before, null);
    return true;
  }

  truncate(table: string): void {
    const state = this.#table(table);
    const seen = new Map<string, string | null>(
      Array.from(state.rows.keys(), (key) => [key, null]),
    );
    for (const key of this.#seen.get(table)?.keys() ?? []) seen.set(key, null);
    this.#seen.set(table, seen);
    this.changes.push({ table, operation: 'truncate' });
  }

  get(table: string, key: Key): Row | undefined {
    const text = this.#present(this.#table(table), encodeKey(key));
    return text === null ? undefined : decodeRow(text);
  }

  /** Ends it: what the application does with the object from here on is refused. */
  end(): void {
    this.#open = false;
  }

  #table(name: string): TableState {
    if (!this.#open)
      throw new TallyError('STORE_CLOSED', { what: 'the transaction has ended', where: name });
    const table = this.#source.tables.get(name);
    if (table === undefined) throw unknownTable(this.#source, name);
    return table;
  }

  #present(table: TableState, key: string): string | null {
    const seen = this.#seen.get(table.name)?.get(key);
    return seen === undefined ? (table.rows.get(key) ?? null) : seen;
  }

  #record(
    table: TableState,
    operation: PendingRow['operation'],
    key: string,
    before: string | null,
    after: string | null,
  ): void {
    if (!this.#seen.has(table.name)) this.#seen.set(table.name, new Map());
    must(this.#seen.get(table.name), 'the rows seen').set(key, after);
    this.changes.push({ table: table.name, operation, key, before, after });
  }
}

function refused(table: string, what: string): TallyError {
  return new TallyError('WRITE_REFUSED', { what, where: `table ${table}` });
}
