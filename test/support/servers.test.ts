import { Client } from 'pg';
import { createClient } from 'redis';
import { describe, expect, test } from 'vitest';
import { freshDatabase, freshRedis, hasPostgres, hasRedis, postgresUrl } from './servers.ts';

async function rowsOf(url: string, text: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(text);
    return rows;
  } finally {
    await client.end();
  }
}

describe.skipIf(!hasPostgres)('a fresh database', () => {
  test('is empty, its own, and gone with its slots when disposed, also while somebody streams from them', async () => {
    const database = await freshDatabase();
    const other = await freshDatabase({ encoding: 'SQL_ASCII' });
    expect(database.name).not.toBe(other.name);
    expect(await rowsOf(other.url, 'SHOW server_encoding')).toEqual([
      { server_encoding: 'SQL_ASCII' },
    ]);
    const slot = `${database.name}_slot`;
    await rowsOf(
      database.url,
      `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput', false)`,
    );
    const idler = new Client({ connectionString: database.url });
    const ended = new Promise((resolve) => idler.once('end', resolve));
    idler.on('error', () => undefined);
    await idler.connect();

    await database[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();

    await ended;
    expect(
      await rowsOf(
        postgresUrl(),
        `SELECT slot_name::text AS left FROM pg_replication_slots WHERE slot_name = '${slot}'
         UNION ALL SELECT datname FROM pg_database WHERE datname = '${database.name}'`,
      ),
    ).toEqual([]);
  });
});

describe.skipIf(!hasRedis)('a fresh Redis', () => {
  test('shares no key with another one, and leaves none', async () => {
    const one = await freshRedis();
    const two = await freshRedis();
    expect(one.prefix).not.toBe(two.prefix);
    const first = await createClient({ url: one.url }).connect();
    const second = await createClient({ url: two.url }).connect();
    await first.set(`${one.prefix}key`, 'value');
    expect(await second.keys('*')).toEqual([]);
    await one[Symbol.asyncDispose]();
    expect(await first.keys('*')).toEqual([]);
    await two[Symbol.asyncDispose]();
    first.destroy();
    second.destroy();
  });
});
