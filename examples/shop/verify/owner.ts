import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client } from 'pg';
import type { Servers } from '../app.ts';
import { SCHEMA } from '../orders/sqlite.ts';

/** In an order in which each finds the rows that it refers to. */
const tables = [
  'customers',
  'products',
  'inventory',
  'orders',
  'order_lines',
  'events',
  'replays',
  'bad_lines',
] as const;

const ROWS_AT_ONCE = 5_000;

/**
 * The owner's tables, for the one SQL that says what other stores should hold: the file itself, or a plain copy
 * in memory of what a server has. The shop must be closed.
 */
export async function openOwner(dir: string, servers?: Servers): Promise<DatabaseSync> {
  if (servers === undefined) return new DatabaseSync(join(dir, 'orders.db'));
  const copy = new DatabaseSync(':memory:');
  copy.exec(SCHEMA);
  const client = new Client({ connectionString: servers.postgresUrl });
  try {
    await client.connect();
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    for (const table of tables) await copyTable(client, copy, table);
    return copy;
  } catch (error) {
    copy.close();
    throw error;
  } finally {
    await client.end();
  }
}

async function copyTable(client: Client, copy: DatabaseSync, table: string): Promise<void> {
  await client.query(`DECLARE ${table}_rows CURSOR FOR SELECT * FROM ${table}`);
  copy.exec('BEGIN');
  for (;;) {
    const { rows, fields } = await client.query<(string | number | null)[]>({
      text: `FETCH ${ROWS_AT_ONCE} FROM ${table}_rows`,
      rowMode: 'array',
    });
    const names = fields.map(({ name }) => name);
    const places = names.map(() => '?').join(', ');
    const add = copy.prepare(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${places})`);
    for (const row of rows) add.run(...row);
    if (rows.length < ROWS_AT_ONCE) break;
  }
  copy.exec('COMMIT');
}
