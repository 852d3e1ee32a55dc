import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';
import { suggest } from '../../../core/options.ts';
import type { Key, Row } from '../../../core/row.ts';
import type { Catalogue } from './catalogue.ts';
import type { Host } from './host.ts';
import { layoutOf, type Layout } from './layout.ts';
import { quote, quoted } from './names.ts';
import type { TargetDeclaration } from './targets.ts';

/** One row as readers see it: without the coordinator's own columns. */
export interface ReadRow {
  readonly key: Key;
  readonly row: Row;
}

/** How the rows of one target are read back, expired ones left out. */
export class TargetReader {
  readonly layout: Layout;
  /** The table, quoted. */
  readonly table: string;
  /** What makes a row visible; an SQL condition. */
  readonly #visible: string;
  readonly #host: Host;

  constructor(host: Host, target: string, layout: Layout) {
    this.#host = host;
    this.layout = layout;
    this.table = quote(target);
    this.#visible = layout.expires ? '(expires_at_ms IS NULL OR expires_at_ms > ?)' : '?';
  }

  /** Up to `limit` rows after a key, in key order. */
  page(after: Key | undefined, limit: number): readonly ReadRow[] {
    const keys = this.layout.key.map(({ name }) => name);
    const values: SQLInputValue[] = [];
    if (after !== undefined) this.layout.codec.bindKey(after, values);
    const beyond =
      after === undefined ? '' : `(${quoted(keys)}) > (${keys.map(() => '?').join(', ')}) AND`;
    const sql = `SELECT ${this.columns()} FROM ${this.table} WHERE ${beyond} ${this.#visible} ORDER BY ${quoted(keys)} LIMIT ?`;
    return this.#all(sql, [...values, this.now(), limit]).map((record) => this.read(record));
  }

  /** One row by key. */
  get(key: Key): Row | undefined {
    const values: SQLInputValue[] = [];
    this.layout.codec.bindKey(key, values);
    const same = this.layout.key.map(({ name }) => `${quote(name)} = ?`).join(' AND ');
    const sql = `SELECT ${this.columns()} FROM ${this.table} WHERE ${same} AND ${this.#visible}`;
    const record = this.#all(sql, [...values, this.now()])[0];
    return record && this.read(record).row;
  }

  count(): number {
    const sql = `SELECT count(*) FROM ${this.table} WHERE ${this.#visible}`;
    return Number(this.#all(sql, [this.now()])[0]?.[0] ?? 0);
  }

  /** The columns that {@link TargetReader.read} takes, qualified by `alias` if there is one. */
  columns(alias = ''): string {
    const names = [...this.layout.key, ...this.layout.values].map(({ name }) => name);
    return names.map((name) => `${alias}${quote(name)}`).join(', ');
  }

  read(record: readonly SQLOutputValue[]): ReadRow {
    return this.layout.codec.read(record);
  }

  /** What is bound for visibility: the instant, or (where nothing expires) true. */
  now(): number {
    return this.layout.expires ? this.#host.clock.nowMs() : 1;
  }

  #all(sql: string, values: readonly SQLInputValue[]): readonly (readonly SQLOutputValue[])[] {
    const { connection } = this.#host;
    const statement = connection.prepareArrays(sql);
    statement.setReadBigInts(true);
    return connection.guard(() =>
      statement.all(...values),
    ) as unknown as readonly (readonly SQLOutputValue[])[];
  }
}

/**
 * The reader of a target that is in the file, or of any other table with a primary key. Throws
 * TABLE_UNKNOWN with the nearest name, TABLE_UNSUPPORTED for a table without a key.
 */
export function readerOf(host: Host, catalogue: Catalogue, target: string): TargetReader {
  const { connection } = host;
  const columns = connection.prepare('SELECT name, type, pk FROM pragma_table_info(?)').all(target);
  if (columns.length === 0) throw unknownTable(host, target);
  const names = new Set(columns.map(({ name }) => String(name)));
  const declared = Object.hasOwn(catalogue.targets, target);
  if (declared || (names.has('document') && names.has('_fence')))
    return new TargetReader(host, target, catalogue.layout(target));
  return new TargetReader(host, target, layoutOf(tableOf(target, columns), catalogue.rowBytesMax));
}

function tableOf(
  target: string,
  columns: readonly Record<string, SQLOutputValue>[],
): TargetDeclaration {
  const own = columns.filter(({ name }) => name !== '_fence' && name !== '_ordinal');
  const key = own
    .filter(({ pk }) => Number(pk) > 0)
    .toSorted((left, right) => Number(left['pk']) - Number(right['pk']))
    .map(({ name }) => String(name));
  if (key.length === 0)
    throw new TallyError('TABLE_UNSUPPORTED', {
      what: `the table ${target} has no primary key, so its rows have no order`,
      where: `table ${target}`,
      mend: 'give the table a primary key',
    });
  // An untyped column holds any value; BLOB is how SQLite spells that.
  const typed = own.map(({ name, type }) => [String(name), String(type).trim() || 'BLOB'] as const);
  return { kind: 'table', key, columns: Object.fromEntries(typed) };
}

function unknownTable({ connection }: Host, target: string): TallyError {
  const tables = connection
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_tally\\_%' ESCAPE '\\'",
    )
    .all();
  const nearest = suggest(
    target,
    tables.map(({ name }) => String(name)),
  );
  return new TallyError('TABLE_UNKNOWN', {
    what: `there is no table ${JSON.stringify(target.slice(0, 80))}`,
    where: connection.file,
    mend:
      nearest === undefined
        ? 'a target exists once a flow has opened it'
        : `did you mean ${nearest}?`,
    details: { target, ...(nearest === undefined ? {} : { nearest }) },
  });
}
