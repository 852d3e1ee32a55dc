import { checkString } from '../../core/options.ts';

/** What a value of a column may be here. */
export type SqlValue = string | number | bigint | null;

/** The part of a transaction of SQLite that a work needs. */
export interface SqliteLike {
  prepare(text: string): { get(...values: SqlValue[]): Record<string, unknown> | undefined };
}

/** The part of a transaction of PostgreSQL that a work needs. */
export interface PostgresLike {
  query(
    text: string,
    values: SqlValue[],
  ): Promise<{ readonly rows: readonly Record<string, unknown>[] }>;
}

/** A statement with the same text for both, but for how they write a parameter and compare with NULL. */
export interface Statement {
  readonly text: (dialect: Dialect) => string;
  readonly values: SqlValue[];
}

export interface Dialect {
  readonly parameter: '?' | '$';
  readonly same: 'IS' | 'IS NOT DISTINCT FROM';
}

const sqliteDialect: Dialect = { parameter: '?', same: 'IS' };
const postgresDialect: Dialect = { parameter: '$', same: 'IS NOT DISTINCT FROM' };

/** The row that a statement answers, or undefined. */
export function onSqlite(
  tx: SqliteLike,
  { text, values }: Statement,
): Record<string, unknown> | undefined {
  return tx.prepare(text(sqliteDialect)).get(...values);
}

/** The row that a statement answers, or undefined. */
export async function onPostgres(
  tx: PostgresLike,
  { text, values }: Statement,
): Promise<Record<string, unknown> | undefined> {
  return (await tx.query(text(postgresDialect), values)).rows[0];
}

/** A name as SQL has it. Throws CONFIG_INVALID for what is not letters, digits and underscores, a dot between two. */
export function quoted(name: string, path: string): string {
  checkString(name, path, {
    charactersMax: 127,
    pattern: {
      matches: /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?$/,
      says: 'a name of letters, digits and "_", with a schema before it if need be',
    },
  });
  return name
    .split('.')
    .map((part) => `"${part}"`)
    .join('.');
}
