import { TallyError } from '../../../core/errors.ts';
import { suggest } from '../../../core/options.ts';
import type { Key, Row } from '../../../core/row.ts';
import { identifier, type Bindable, type Queryable } from '../database.ts';
import { sqlState } from '../errors.ts';
import type { Cell } from './array-param.ts';
import type { Catalogue } from './catalogue.ts';
import type { Host } from './host.ts';
import { layoutOf, type Layout, type RowCodec } from './layout.ts';
import { quoted, targetNames } from './names.ts';
import { tableColumns } from './schema.ts';
import type { TargetDeclaration } from './targets.ts';

/** One row as readers see it: without the coordinator's own columns. */
export interface ReadRow {
  readonly key: Key;
  readonly row: Row;
}

/** The texts of times, intervals and floats, whatever the application has set on the connection. */
const SETTINGS = `SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';
  SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'`;

/** How the rows of one target are read back, expired ones left out. */
export class TargetReader {
  readonly layout: Layout;
  /** The table, qualified and quoted. */
  readonly table: string;
  readonly #host: Host;
  readonly #codec: RowCodec;

  constructor(host: Host, table: string, layout: Layout, codec: RowCodec) {
    this.#host = host;
    this.table = table;
    this.layout = layout;
    this.#codec = codec;
  }

  /** Up to `limit` rows after a key, in key order. */
  async page(after: Key | undefined, limit: number): Promise<readonly ReadRow[]> {
    const keys = quoted(this.#keys.map(({ name }) => name));
    const values = after === undefined ? [] : this.#keyValues(after);
    const beyond = after === undefined ? 'true' : `(${keys}) > (${this.#slots()})`;
    const rows = await this.select(
      `${beyond} AND ${this.visible(values)} ORDER BY ${keys} LIMIT ${limit}`,
      values,
    );
    return rows.map((record) => this.read(record));
  }

  /** One row by key. */
  async get(key: Key): Promise<Row | undefined> {
    const keys = quoted(this.#keys.map(({ name }) => name));
    const values = this.#keyValues(key);
    const rows = await this.select(
      `(${keys}) = (${this.#slots()}) AND ${this.visible(values)}`,
      values,
    );
    const [record] = rows;
    return record && this.read(record).row;
  }

  async count(): Promise<number> {
    const values: Bindable[] = [];
    const text = `SELECT count(*) FROM ${this.table} WHERE ${this.visible(values)}`;
    const { rows } = await this.#host.database.run(text, values);
    return Number(rows[0]?.[0] ?? 0);
  }

  /** Records of the rows for which `where` holds, with what `more` selects at their end. */
  async select(
    where: string,
    values: readonly Bindable[],
    more: { readonly before?: string; readonly after?: string } = {},
  ): Promise<readonly (readonly unknown[])[]> {
    const columns = quoted(this.#codec.sent.map(({ name }) => name));
    const text = `SELECT ${more.before ?? ''} ${columns}${more.after ?? ''} FROM ${this.table} WHERE ${where}`;
    const { database } = this.#host;
    if (!this.layout.typed) return (await database.run(text, values)).rows;
    return database.transaction(async (tx: Queryable) => {
      await tx.run(SETTINGS);
      return (await tx.run(text, values)).rows;
    });
  }

  read(record: readonly unknown[]): ReadRow {
    return this.#codec.read(record);
  }

  /** What makes a row visible, an SQL condition; the instant is added to `values` where it counts. */
  visible(values: Bindable[]): string {
    if (!this.layout.expires) return 'true';
    values.push(this.#host.clock.nowMs());
    return `(expires_at IS NULL OR expires_at > to_timestamp($${values.length}::float8 / 1000))`;
  }

  get #keys(): RowCodec['sent'] {
    return this.#codec.sent.slice(0, this.layout.key.length);
  }

  #keyValues(key: Key): Bindable[] {
    const cells: Cell[] = [];
    this.#codec.bindKey(key, cells);
    return [...cells];
  }

  #slots(): string {
    return this.#keys.map(({ cast }, index) => `$${index + 1}::${cast}`).join(', ');
  }
}

/** The readers of a store's targets, each looked up once and again after its table has changed. */
export class Readers {
  readonly #host: Host;
  readonly #catalogue: Catalogue;
  readonly #known = new Map<string, Promise<TargetReader>>();

  constructor(host: Host, catalogue: Catalogue) {
    this.#host = host;
    this.#catalogue = catalogue;
  }

  /** What the target is declared as; undefined if it is not. */
  kind(target: string): TargetDeclaration['kind'] | undefined {
    return Object.hasOwn(this.#catalogue.targets, target)
      ? this.#catalogue.targets[target]?.kind
      : undefined;
  }

  /** Runs `work` on a reader; once more on a new one if the table is no longer what the reader takes it for. */
  async use<Result>(
    target: string,
    work: (reader: TargetReader) => Promise<Result>,
  ): Promise<Result> {
    try {
      return await work(await this.#reader(target));
    } catch (error) {
      if (error instanceof TallyError || sqlState(error)?.startsWith('42') !== true) throw error;
      this.#known.delete(target);
      return work(await this.#reader(target));
    }
  }

  #reader(target: string): Promise<TargetReader> {
    const known = this.#known.get(target);
    if (known !== undefined) return known;
    const asked = this.#find(target);
    this.#known.set(target, asked);
    asked.catch(() => this.#known.delete(target));
    return asked;
  }

  /**
   * The reader of a target that is in the database, or of any other table with a primary key. Throws TABLE_UNKNOWN
   * with the nearest name, TABLE_UNSUPPORTED for a table without a key.
   */
  async #find(target: string): Promise<TargetReader> {
    const { database } = this.#host;
    const schemas = await this.#host.schemas();
    const { table } = targetNames(schemas, target, 1, 'seen');
    const columns = await tableColumns(
      { query: async (text, values) => (await database.run(text, values as Bindable[])).rows },
      table,
    );
    if (columns.length === 0) throw await unknownTable(database, target);
    const names = new Set(columns.map(({ name }) => name));
    const ours = names.has('key') && names.has('document') && names.has('_fence');
    const layout =
      this.kind(target) !== undefined || ours
        ? this.#catalogue.layout(target)
        : layoutOf(await tableOf(database, target, table, [...names]), this.#catalogue.rowBytesMax);
    return new TargetReader(this.#host, table, layout, layout.codec(columns));
  }
}

async function tableOf(
  database: Queryable,
  target: string,
  table: string,
  names: readonly string[],
): Promise<TargetDeclaration> {
  const rows = await database.query<{ name: string }>(
    `SELECT a.attname AS name FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(num, place)
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
     WHERE i.indrelid = to_regclass($1) AND i.indisprimary ORDER BY k.place`,
    [table],
  );
  const key = rows.map(({ name }) => name);
  if (key.length === 0)
    throw new TallyError('TABLE_UNSUPPORTED', {
      what: `the table ${target} has no primary key, so its rows have no order`,
      where: `table ${target}`,
      mend: `give the table a primary key: ALTER TABLE ${table} ADD PRIMARY KEY (${identifier('id')})`,
    });
  const own = names.filter((name) => name !== '_fence' && name !== '_ordinal');
  return { kind: 'table', key, columns: Object.fromEntries(own.map((name) => [name, 'text'])) };
}

async function unknownTable(
  database: Queryable & { readonly where: string },
  target: string,
): Promise<TallyError> {
  const tables = await database.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_class c WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
       AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) LIMIT 1000`,
  );
  const nearest = suggest(
    target,
    tables.map(({ name }) => name),
  );
  return new TallyError('TABLE_UNKNOWN', {
    what: `there is no table ${JSON.stringify(target.slice(0, 80))}`,
    where: database.where,
    mend:
      nearest === undefined
        ? 'a target exists once a flow has opened it'
        : `did you mean ${nearest}?`,
    details: { target, ...(nearest === undefined ? {} : { nearest }) },
  });
}
