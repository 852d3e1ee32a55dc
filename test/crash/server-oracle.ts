import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DuckDBInstance } from '@duckdb/node-api';
import { Client, type QueryResultRow } from 'pg';
import { createClient } from 'redis';
import { unreachable } from '../../src/core/errors.ts';
import type { Setup, TargetName } from './server-app.ts';

// What source and targets hold, read with drivers of our own: nothing of the coordinator is asked.

/** A row of the source or of a target. */
export interface Held {
  readonly n: number;
  readonly chain: number;
}

export type Rows = ReadonlyMap<string, Held>;
export type TargetTable = 'copies' | 'chains';

interface Found {
  readonly key: string;
  readonly n: number | string;
  readonly chain: number | string;
}

function rowsFrom(found: readonly Found[]): Rows {
  return new Map(
    found.map(({ key, n, chain }) => [key, { n: Number(n), chain: Number(chain) }] as const),
  );
}

/** Runs one statement on a connection of its own. */
export async function ask<Row extends QueryResultRow>(
  url: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<readonly Row[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // A server that is killed ends idle connections too; what is asked on them is told by its own promise.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<Row>(text, [...values])).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** What the source holds, of all keys or of those named. */
export async function sourceRows(url: string, keys?: readonly string[]): Promise<Rows> {
  const text = 'SELECT key, n, chain FROM counters';
  return rowsFrom(
    keys === undefined
      ? await ask<Found>(url, text)
      : await ask<Found>(url, `${text} WHERE key = ANY($1)`, [keys]),
  );
}

/** What a target holds, of all keys or of one. */
export function targetRows(
  setup: Setup,
  target: TargetName,
  table: TargetTable,
  key?: string,
): Promise<Rows> {
  switch (target) {
    case 'redis':
      return redisRows(setup, table, key);
    case 'postgres':
      return ask<Found>(
        setup.targetUrl,
        `SELECT document->>'key' AS key, document->>'n' AS n, document->>'chain' AS chain FROM ${table}
         WHERE $1::text IS NULL OR document->>'key' = $1`,
        [key ?? null],
      ).then(rowsFrom);
    case 'sqlite':
      return Promise.resolve(sqliteRows(setup, table, key));
    case 'duckdb':
      return duckdbRows(setup, table);
    default:
      return unreachable(target);
  }
}

function sqliteRows({ dir }: Setup, table: TargetTable, key?: string): Rows {
  using db = new DatabaseSync(join(dir, 'target.db'), { readOnly: true, timeout: 5_000 });
  const rows = db
    .prepare(
      `SELECT document->>'key' AS key, document->>'n' AS n, document->>'chain' AS chain FROM ${table}
       WHERE ?1 IS NULL OR document->>'key' = ?1`,
    )
    .all(key ?? null);
  return rowsFrom(rows as unknown as readonly Found[]);
}

async function duckdbRows({ dir }: Setup, table: TargetTable): Promise<Rows> {
  const instance = await DuckDBInstance.create(join(dir, 'target.duckdb'));
  try {
    const connection = await instance.connect();
    const reader = await connection.runAndReadAll(
      `SELECT doc->>'key' AS key, doc->>'n' AS n, doc->>'chain' AS chain FROM ${table}`,
    );
    const rows = reader.getRowObjectsJson();
    connection.closeSync();
    return rowsFrom(rows as unknown as readonly Found[]);
  } finally {
    instance.closeSync();
  }
}

async function redisRows(
  { redisUrl, prefix }: Setup,
  table: TargetTable,
  key = '*',
): Promise<Rows> {
  const client: ReturnType<typeof createClient> = createClient({
    url: redisUrl,
    socket: { reconnectStrategy: false },
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const keys: string[] = [];
    for await (const page of client.scanIterator({
      MATCH: `${prefix}${table}:${key}`,
      COUNT: 1_000,
    }))
      keys.push(...page);
    // One that was deleted meanwhile has no text.
    const texts = keys.length === 0 ? [] : await client.mGet(keys);
    return rowsFrom(texts.flatMap((text) => (text === null ? [] : [JSON.parse(text) as Found])));
  } finally {
    client.destroy();
  }
}

/** How a target differs from the source. */
export interface Differences {
  lost: number;
  doubled: number;
  /** The first few, for people. */
  readonly seen: string[];
}

/**
 * Counts keys that lack a change, and keys that have one too many or in another order. A row that the source has
 * deleted and the target still has lacks the deletion.
 */
export function compare(where: string, owned: Rows, held: Rows): Differences {
  const differences: Differences = { lost: 0, doubled: 0, seen: [] };
  for (const key of new Set([...owned.keys(), ...held.keys()])) {
    const [mine, theirs] = [owned.get(key), held.get(key)];
    if (mine?.n === theirs?.n && mine?.chain === theirs?.chain) continue;
    const lacks = mine === undefined || theirs === undefined || theirs.n < mine.n;
    differences[lacks ? 'lost' : 'doubled'] += 1;
    if (differences.seen.length < 3)
      differences.seen.push(
        `${where} ${key}: owned ${JSON.stringify(mine)}, held ${JSON.stringify(theirs)}`,
      );
  }
  return differences;
}
