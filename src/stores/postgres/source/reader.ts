import type pg from 'pg';
import { encodeKey } from '../../../core/codec.ts';
import { errorText, must, TallyError } from '../../../core/errors.ts';
import type { Key, Row, Scalar, Value } from '../../../core/row.ts';
import { identifier, literal, type Database, type Session } from '../database.ts';
import { isConnectionLost, postgresError, sqlState } from '../errors.ts';
import { readTypes } from './catalog.ts';
import { fromClause, sqlName, type CapturedTable } from './table.ts';
import { codecOf, textToValue, valueSettings, type ValueCodec } from './values.ts';
import { userName } from './slot.ts';

/** A row with its key, and about how many bytes it takes. */
export interface ReadRow {
  readonly key: Key;
  readonly row: Row;
  readonly bytes: number;
}

/** Bounds of one page. */
export interface PageBounds {
  readonly rowsMax: number;
  readonly bytesMax: number;
}

/** Rows asked for at once grow by this factor: a table of huge rows is noticed before many are in memory. */
const FETCH_GROWTH = 8;
/** Keys looked up in one statement. */
const LOOKUP_KEYS = 500;

/**
 * One connection that sees a snapshot and nothing newer. Statements run one after the other.
 *
 * `row_security = off` makes the server refuse, instead of leaving rows out silently, where a policy would hide some.
 */
export class Reader {
  readonly #database: Database;
  readonly #session: Session;
  readonly #encoding: string;
  #cursor: Cursor | undefined;

  private constructor(database: Database, session: Session, encoding: string) {
    this.#database = database;
    this.#session = session;
    this.#encoding = encoding;
  }

  /** Opens a connection and pins it to an exported snapshot, which must still be there. */
  static async open(database: Database, snapshot: string): Promise<Reader> {
    const session = await database.connect();
    try {
      const settings = {
        ...valueSettings,
        row_security: 'off',
        statement_timeout: '0',
        lock_timeout: '0',
        idle_in_transaction_session_timeout: '0',
        ...(database.version >= 170_000 ? { transaction_timeout: '0' } : {}),
      };
      const set = Object.entries(settings).map(
        ([name, value]) => `SET ${name} = ${literal(value)}`,
      );
      await session.run(set.join(';'));
      await session.run('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await session.run(`SET TRANSACTION SNAPSHOT ${literal(snapshot)}`);
      const [server] = await session.query<{ encoding: string }>(
        `SELECT current_setting('server_encoding') AS encoding`,
      );
      return new Reader(database, session, must(server, 'the encoding').encoding);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** Exports the snapshot again, from here, for one more reader; good while this one lives. */
  async share(): Promise<string> {
    const rows = await this.#session.query<{ name: string }>('SELECT pg_export_snapshot() AS name');
    return must(rows[0], 'the snapshot').name;
  }

  /** Begins to read a table in the order of its primary key, after `after` if given. */
  async begin(table: CapturedTable, after: Key | undefined): Promise<void> {
    const format = await this.#format(table);
    const columns = table.key.map(identifier).join(',');
    const place =
      after === undefined ? '' : ` WHERE (${columns}) > (${keyList(table, after).join(',')})`;
    await this.#reading(table, async () => {
      if (this.#cursor !== undefined) await this.#session.run('CLOSE tally_rows');
      this.#cursor = undefined;
      await this.#session.run(
        `DECLARE tally_rows NO SCROLL CURSOR FOR SELECT ${format.list} FROM ${fromClause(table)}${place} ORDER BY ${columns}`,
      );
      await this.#refuseRewritten(table);
    });
    this.#cursor = { table, format, buffer: [], at: 0, ended: false, rows: 1, rowBytes: 0 };
  }

  /** The next rows of the table that was begun, and whether they are its last. */
  async page(
    bounds: PageBounds,
  ): Promise<{ readonly rows: readonly ReadRow[]; readonly done: boolean }> {
    const cursor = must(this.#cursor, 'the cursor');
    const rows: ReadRow[] = [];
    let bytes = 0;
    for (;;) {
      while (cursor.at < cursor.buffer.length) {
        const row = cursor.buffer[cursor.at] as ReadRow;
        if (
          rows.length === bounds.rowsMax ||
          (rows.length > 0 && bytes + row.bytes > bounds.bytesMax)
        )
          return { rows, done: false };
        rows.push(row);
        bytes += row.bytes;
        cursor.at += 1;
      }
      if (cursor.ended) return { rows, done: true };
      if (rows.length >= bounds.rowsMax || bytes >= bounds.bytesMax) return { rows, done: false };
      await this.#fetch(cursor, bounds);
    }
  }

  /** The rows of these keys, in their order; null where there is none. */
  async find(table: CapturedTable, keys: readonly Key[]): Promise<readonly (Row | null)[]> {
    const format = await this.#format(table);
    const columns = table.key.map(identifier).join(',');
    const found = new Map<string, Row>();
    for (let from = 0; from < keys.length; from += LOOKUP_KEYS) {
      const wanted = keys
        .slice(from, from + LOOKUP_KEYS)
        .map((key) => `(${keyList(table, key).join(',')})`);
      const rows = await this.#reading(table, () =>
        this.#texts(
          `SELECT ${format.list} FROM ${fromClause(table)} WHERE (${columns}) IN (${wanted.join(',')})`,
        ),
      );
      for (const cells of rows) {
        const { key, row } = rowOf(format, cells);
        found.set(encodeKey(key), row);
      }
    }
    // The database may call other keys equal ('1.0' and '1.00'): only the very key is the one that was asked for.
    return keys.map((key) => found.get(encodeKey(key)) ?? null);
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  async #fetch(cursor: Cursor, bounds: PageBounds): Promise<void> {
    const fitting = Math.floor(bounds.bytesMax / Math.max(1, cursor.rowBytes));
    const count = Math.max(1, Math.min(cursor.rows, bounds.rowsMax, fitting));
    const rows = await this.#reading(cursor.table, () =>
      this.#texts(`FETCH ${count} FROM tally_rows`),
    );
    let bytes = 0;
    cursor.buffer = rows.map((cells) => {
      const row = rowOf(cursor.format, cells);
      bytes += row.bytes;
      return row;
    });
    cursor.at = 0;
    cursor.ended = rows.length < count;
    cursor.rows = count * FETCH_GROWTH;
    cursor.rowBytes = rows.length === 0 ? cursor.rowBytes : bytes / rows.length;
  }

  /**
   * A table that was rewritten after the snapshot (TRUNCATE, ALTER COLUMN TYPE) looks empty through it, and nothing
   * else tells: its file is another one now than the snapshot's catalog says. From here on the cursor's lock keeps
   * it as it is.
   */
  async #refuseRewritten(table: CapturedTable): Promise<void> {
    const parts = table.parts.map(({ oid }) => oid);
    const rows = await this.#session.query<{ name: string }>(
      `SELECT relname::text AS name FROM pg_catalog.pg_class WHERE oid = ANY ('{${parts.join(',')}}'::oid[])
         AND relfilenode <> 0 AND relfilenode IS DISTINCT FROM pg_relation_filenode(oid)`,
    );
    if (rows.length === 0) return;
    throw new TallyError('STORE_BUSY', {
      what: `table '${table.name}' was rewritten after the snapshot began, so that the snapshot cannot see its rows`,
      where: this.#database.where,
      mend: 'try again: the next snapshot sees it as it is now',
      details: { table: table.name },
    });
  }

  async #format(table: CapturedTable): Promise<RowFormat> {
    const types = await readTypes(
      this.#session,
      table.columns.map(({ type }) => type),
    );
    const raw = this.#encoding === 'SQL_ASCII';
    return {
      raw,
      list: table.columns.map(({ name }) => (raw ? rawBytes(name) : identifier(name))).join(','),
      names: table.columns.map(({ name }) => name),
      codecs: table.columns.map(({ type }) => codecOf(type, types)),
      key: table.key,
    };
  }

  /** Rows as the server prints them, whatever parsers the application has set. */
  async #texts(text: string): Promise<readonly Cells[]> {
    try {
      const result = await this.#session.client.query({ text, rowMode: 'array', types: asPrinted });
      return result.rows as Cells[];
    } catch (error) {
      throw postgresError(error, this.#database.where);
    }
  }

  async #reading<Result>(table: CapturedTable, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (isConnectionLost(error)) throw error;
      if (sqlState(error) === '42501') throw await this.#forbidden(table, error);
      if (sqlState(error)?.startsWith('22') === true)
        throw new TallyError('INPUT_INVALID', {
          what: `a key does not fit the types of table '${table.name}'`,
          where: this.#database.where,
          mend: `give values for: ${table.key.join(', ')}`,
          cause: error,
        });
      throw error;
    }
  }

  async #forbidden(table: CapturedTable, cause: unknown): Promise<TallyError> {
    const user = await userName(this.#database);
    const policy = /row-level security/i.test(errorText(cause)) || isPolicy(cause);
    return new TallyError('CAPABILITY_MISSING', {
      what: policy
        ? `a policy hides rows of table '${table.name}' from the user '${user}'`
        : `the user '${user}' may not read table '${table.name}'`,
      where: this.#database.where,
      mend: policy
        ? `run ALTER ROLE "${user}" BYPASSRLS as a superuser`
        : `run GRANT SELECT ON ${sqlName(table)} TO "${user}" (and USAGE on its schema)`,
      details: { table: table.name },
      cause,
    });
  }
}

type Cells = readonly (string | null)[];

const asPrinted: pg.CustomTypesConfig = {
  getTypeParser: (() => (text: string) => text) as pg.CustomTypesConfig['getTypeParser'],
};

interface RowFormat {
  /** Values come as the hex of their bytes: nobody vouches for their encoding. */
  readonly raw: boolean;
  readonly list: string;
  readonly names: readonly string[];
  readonly codecs: readonly ValueCodec[];
  readonly key: readonly string[];
}

interface Cursor {
  readonly table: CapturedTable;
  readonly format: RowFormat;
  buffer: readonly ReadRow[];
  at: number;
  ended: boolean;
  /** Rows to ask for next. */
  rows: number;
  /** The mean of what was read last. */
  rowBytes: number;
}

function isPolicy(error: unknown): boolean {
  return (
    error instanceof TallyError && /row-level security/i.test(String(error.details['postgres']))
  );
}

function rawBytes(name: string): string {
  const column = identifier(name);
  return `CASE WHEN ${column} IS NOT NULL THEN encode(convert_to(format('%s', ${column}), 'SQL_ASCII'), 'hex') END`;
}

function rowOf(format: RowFormat, cells: Cells): ReadRow {
  const row: Record<string, Value> = {};
  let bytes = 0;
  const { names, codecs, raw } = format;
  for (let index = 0; index < names.length; index += 1) {
    const cell = cells[index] ?? null;
    const name = names[index] as string;
    let value: Value = null;
    if (cell !== null) {
      bytes += cell.length;
      value = textToValue(codecs[index] as ValueCodec, raw ? Buffer.from(cell, 'hex') : cell);
    }
    if (name === '__proto__')
      Object.defineProperty(row, name, {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    else row[name] = value;
  }
  return {
    key: format.key.map((name) => row[name] as Scalar),
    row,
    bytes: bytes + 8 * names.length,
  };
}

/** The values of a key as SQL, each with the type of its column. Throws INPUT_INVALID. */
function keyList(table: CapturedTable, key: Key): readonly string[] {
  if (key.length !== table.key.length)
    throw new TallyError('INPUT_INVALID', {
      what: `a key of ${key.length} values does not fit table '${table.name}'`,
      mend: `give a value for each of: ${table.key.join(', ')}`,
    });
  return table.key.map((name, index) => {
    const column = must(
      table.columns.find((one) => one.name === name),
      'a column of the key',
    );
    return `${literal(printed(key[index] ?? null))}::${column.typeName}`;
  });
}

/** A value as the server reads it. */
function printed(value: Scalar): string {
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  return String(value);
}
