import { TallyError } from '../../../core/errors.ts';
import { checkDuration, checkOptions, fieldPath } from '../../../core/options.ts';
import { checkName } from './names.ts';

/** A target with typed columns. */
export interface TableTarget {
  readonly kind: 'table';
  readonly key: readonly string[];
  /** SQL type, and constraints if wanted, by column: `{ price: 'REAL NOT NULL CHECK (price >= 0)' }`. */
  readonly columns: Readonly<Record<string, string>>;
}

/** A target of JSON documents by key. */
export interface DocumentsTarget {
  readonly kind: 'documents';
}

/** Documents with a full-text index over some of their fields. */
export interface FullTextTarget {
  readonly kind: 'fullText';
  readonly columns: readonly string[];
  /** As FTS5 spells it, e.g. `porter unicode61`. */
  readonly tokenize: string;
}

/** Documents that are the edges of a graph. */
export interface EdgesTarget {
  readonly kind: 'edges';
  readonly from: string;
  readonly to: string;
  readonly type: string;
}

/** Documents that expire. */
export interface KeyValueTarget {
  readonly kind: 'keyValue';
  readonly ttlMs: number | undefined;
}

/** What a target of a SQLite sink is; made by `table`, `documents`, `fullText`, `edges`, `keyValue`. */
export type TargetDeclaration =
  TableTarget | DocumentsTarget | FullTextTarget | EdgesTarget | KeyValueTarget;

/** Target declarations by name. */
export type Targets = Readonly<Record<string, TargetDeclaration>>;

/**
 * Rows in typed columns, under a key of one or more of them. A column of the row that is not
 * declared refuses the write; a declared one that the row lacks is NULL. Values follow SQLite's
 * affinity: true and false are stored as 1 and 0, a list or object as its JSON text, a number in a
 * TEXT column as text; NaN is refused. Columns declared `BOOLEAN` or `JSON` are read back by `scan`
 * as what they were. Throws CONFIG_INVALID.
 *
 * @example table({ key: ['sku'], columns: { sku: 'TEXT', price: 'REAL NOT NULL' } })
 */
export function table(options: {
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, string>>;
}): TableTarget {
  checkOptions(options, ['key', 'columns'], 'table');
  const { key, columns } = options;
  const names = new Set<string>();
  for (const [name, type] of Object.entries(columns)) {
    const where = fieldPath('table.columns', name);
    checkName(name, 'column', where);
    if (names.has(name.toLowerCase()))
      throw invalid('two columns differ in letter case only', where);
    names.add(name.toLowerCase());
    if (typeof type !== 'string' || !/^\s*[A-Za-z]/.test(type) || type.includes(';'))
      throw invalid('a column needs a SQL type such as TEXT, INTEGER, REAL or BLOB', where);
  }
  if (key.length === 0) throw invalid('a table needs a key of at least one column', 'table.key');
  for (const name of key)
    if (!Object.hasOwn(columns, name))
      throw invalid(`the key column ${name} is not among the columns`, 'table.key');
  return { kind: 'table', key, columns };
}

/** Rows as JSON documents in a table with the columns `key` and `document`; every value round-trips. */
export function documents(): DocumentsTarget {
  return { kind: 'documents' };
}

/**
 * Documents, some of whose top-level fields are also columns and indexed for search in
 * `<target>_fts` (FTS5), in the transaction of the documents. Throws CONFIG_INVALID.
 *
 * @example fullText({ columns: ['title', 'body'], tokenize: 'porter unicode61' })
 */
export function fullText(options: {
  readonly columns: readonly string[];
  readonly tokenize?: string;
}): FullTextTarget {
  checkOptions(options, ['columns', 'tokenize'], 'fullText');
  if (options.columns.length === 0)
    throw invalid('a full-text target needs at least one column', 'fullText.columns');
  for (const name of options.columns) checkDerived(name, 'fullText.columns', ['rank', 'rowid']);
  return {
    kind: 'fullText',
    columns: options.columns,
    tokenize: options.tokenize ?? 'unicode61 remove_diacritics 2',
  };
}

/**
 * Documents that are edges of a graph: the named fields (`from`, `to`, `kind` if not given) are
 * also columns `from`, `to`, `kind`, indexed both ways; the other fields are the edge's properties.
 * A document without its two ends is refused. Throws CONFIG_INVALID.
 */
export function edges(
  options: { readonly from?: string; readonly to?: string; readonly kind?: string } = {},
): EdgesTarget {
  checkOptions(options, ['from', 'to', 'kind'], 'edges');
  const { from = 'from', to = 'to', kind = 'kind' } = options;
  for (const name of [from, to, kind]) checkName(name, 'column', 'edges');
  return { kind: 'edges', from, to, type: kind };
}

/**
 * Documents that expire `ttl` after they were applied (`'30m'`, or milliseconds): from then on the
 * query ports and `scan` leave them out; plain SQL sees them, with `expires_at_ms`, until the next
 * sweep. Without `ttl` they stay. Throws CONFIG_INVALID.
 */
export function keyValue(options: { readonly ttl?: string | number } = {}): KeyValueTarget {
  checkOptions(options, ['ttl'], 'keyValue');
  const ttlMs =
    options.ttl === undefined ? undefined : checkDuration(options.ttl, 'keyValue.ttl', { min: 1 });
  return { kind: 'keyValue', ttlMs };
}

function checkDerived(name: string, where: string, reserved: readonly string[]): void {
  checkName(name, 'column', where);
  if (['key', 'document', ...reserved].includes(name.toLowerCase()))
    throw invalid(`${name} is the name of a column that every such target has`, where);
}

function invalid(what: string, where: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what, where, details: { path: where } });
}
