import { expect, test, describe } from 'vitest';
import { startPostgres, type PostgresServer } from '../../../../servers/index.ts';
import { hasPostgres } from '../../../../test/support/servers.ts';
import { ask } from '../../../../test/crash/server-oracle.ts';
import { openStore } from '../../../../test/support/postgres-source.ts';

/** A server that keeps what is not committed in its memory for as long as it can. */
function startForgetful(): Promise<PostgresServer> {
  return startPostgres({ settings: { wal_writer_delay: '10s', autovacuum: 'off' } });
}

/** Commits other transactions until one has this id, or the next has a greater one. */
async function statusAfterOthers(url: string, xid: string): Promise<string> {
  for (;;) {
    const [row] = await ask<{ xid: string }>(url, 'SELECT pg_current_xact_id()::text AS xid');
    if (BigInt(row?.xid ?? 0) >= BigInt(xid)) break;
  }
  const [seen] = await ask<{ status: string }>(
    url,
    'SELECT pg_xact_status($1::text::xid8) AS status',
    [xid],
  );
  return seen?.status ?? '';
}

describe.skipIf(!hasPostgres)('a COMMIT that was lost in a crash of the server', () => {
  test('is COMMIT_UNKNOWN where another transaction has got its id and committed', async () => {
    await using server = await startForgetful();
    await ask(server.url, 'CREATE TABLE items (id int PRIMARY KEY)');
    await using store = await openStore(server.url);
    const writing = store.source.write(async (tx) => {
      await tx.query('INSERT INTO items VALUES (1)');
      const { rows } = await tx.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
      await server.kill();
      await server.restart();
      expect(await statusAfterOthers(server.url, rows[0]?.xid ?? '')).toBe('committed');
    });
    await expect(writing).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN', retryable: false });
    expect(await ask(server.url, 'SELECT id FROM items')).toEqual([]);
  });

  test('is retryable, with nothing kept, where nobody has got its id yet', async () => {
    await using server = await startForgetful();
    await ask(server.url, 'CREATE TABLE items (id int PRIMARY KEY)');
    await using store = await openStore(server.url);
    const writing = store.source.write(async (tx) => {
      await tx.query('INSERT INTO items VALUES (1)');
      await server.kill();
      await server.restart();
    });
    await expect(writing).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      details: { kept: false },
    });
    expect(await ask(server.url, 'SELECT id FROM items')).toEqual([]);
  });
});
