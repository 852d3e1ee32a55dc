import { TallyError } from '../../../core/errors.ts';
import { checkDuration, checkOptions, checkString, fieldPath } from '../../../core/options.ts';
import { checkName } from './names.ts';

/** A target with typed columns. */
export interface TableTarget {
  readonly kind: 'table';
  readonly key: readonly string[];
  /** SQL type, and constraints if wanted, by column: `{ price: 'NUMERIC(12,2) NOT NULL CHECK (price >= 0)' }`. */
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
  /** The text search configuration, e.g. `english`. */
  readonly language: string;
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

/** What a target of a PostgreSQL sink is; made by `table`, `documents`, `fullText`, `edges`, `keyValue`. */
export type TargetDeclaration =
  TableTarget | DocumentsTarget | FullTextTarget | EdgesTarget | KeyValueTarget;

/** Target declarations by name. */
export type Targets = Readonly<Record<string, TargetDeclaration>>;

/**
 * Rows in typed columns, under a key of one or more of them. A column of the row that is not declared refuses the
 * write; a declared one that the row lacks is NULL. Types are PostgreSQL's; those that are spelled as in SQLite mean
 * here what they hold there, so that a declaration moves between the two: INTEGER is `bigint`, REAL, DOUBLE and FLOAT
 * are `double precision`, BLOB is `bytea` (write `int4` and `float4` for the narrow ones). A boolean in a column of
 * numbers is 1 or 0, a number or boolean in a column of text its text, a list or object in a column of text its JSON
 * text. A value that the type or a constraint does not take refuses its write alone. Throws CONFIG_INVALID.
 *
 * @example table({ key: ['sku'], columns: { sku: 'TEXT', price: 'NUMERIC(12,2) NOT NULL' } })
 */
export function table(options: {
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, string>>;
}): TableTarget {
  checkOptions(options, ['key', 'columns'], 'table');
  const { key, columns } = options;
  for (const [name, type] of Object.entries(columns)) {
    const where = fieldPath('table.columns', name);
    checkName(name, 'column', where);
    if (typeof type !== 'string' || !/^\s*["A-Za-z]/.test(type) || type.includes(';'))
      throw invalid('a column needs a SQL type such as TEXT, BIGINT, NUMERIC or JSONB', where);
  }
  if (key.length === 0) throw invalid('a table needs a key of at least one column', 'table.key');
  for (const name of key)
    if (!Object.hasOwn(columns, name))
      throw invalid(`the key column ${name} is not among the columns`, 'table.key');
  return { kind: 'table', key, columns };
}

/** Rows as documents in a table with the columns `key` and `document` (jsonb); every value round-trips. */
export function documents(): DocumentsTarget {
  return { kind: 'documents' };
}

/**
 * Documents, some of whose top-level fields are indexed for search in the generated column `search` (tsvector, with
 * a GIN index), in the transaction of the documents. `language` is a text search configuration of the server; without
 * it, `tokenize` as SQLite takes it is understood as far as PostgreSQL can: with `porter` in it words are stemmed as
 * English, otherwise they are taken as they are (`simple`). Accents count, unlike in SQLite. A document whose words
 * do not fit a tsvector (1 MB) is refused. Throws CONFIG_INVALID.
 *
 * @example fullText({ columns: ['title', 'body'], language: 'english' })
 */
export function fullText(options: {
  readonly columns: readonly string[];
  readonly language?: string;
  readonly tokenize?: string;
}): FullTextTarget {
  checkOptions(options, ['columns', 'language', 'tokenize'], 'fullText');
  const { columns, language, tokenize = '' } = options;
  if (columns.length === 0)
    throw invalid('a full-text target needs at least one column', 'fullText.columns');
  for (const name of columns) checkString(name, 'fullText.columns');
  if (language !== undefined) checkString(language, 'fullText.language');
  return {
    kind: 'fullText',
    columns,
    language: language ?? (/\bporter\b/i.test(tokenize) ? 'english' : 'simple'),
  };
}

/**
 * Documents that are edges of a graph: the named fields (`from`, `to`, `kind` if not given) are also generated
 * columns `from`, `to`, `kind`, indexed both ways; the other fields are the edge's properties. A document without
 * its two ends is refused. Throws CONFIG_INVALID.
 */
export function edges(
  options: { readonly from?: string; readonly to?: string; readonly kind?: string } = {},
): EdgesTarget {
  checkOptions(options, ['from', 'to', 'kind'], 'edges');
  const { from = 'from', to = 'to', kind = 'kind' } = options;
  for (const name of [from, to, kind]) checkString(name, 'edges');
  return { kind: 'edges', from, to, type: kind };
}

/**
 * Documents that expire `ttl` after they were applied (`'30m'`, or milliseconds): from then on the query ports and
 * `scan` leave them out; plain SQL sees them, with `expires_at`, until the next sweep. Without `ttl` they stay.
 * Throws CONFIG_INVALID.
 */
export function keyValue(options: { readonly ttl?: string | number } = {}): KeyValueTarget {
  checkOptions(options, ['ttl'], 'keyValue');
  const ttlMs =
    options.ttl === undefined ? undefined : checkDuration(options.ttl, 'keyValue.ttl', { min: 1 });
  return { kind: 'keyValue', ttlMs };
}

function invalid(what: string, where: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what, where, details: { path: where } });
}
