import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import { freshDatabase, hasPostgres } from '../../../../test/support/servers.ts';
import type { Change } from '../../../core/change.ts';
import { projectRow } from '../../../flow/project.ts';
import { outboxMessages } from './inbox.ts';
import { createOutbox, outboxSql, pruneOutbox } from './table.ts';

const row = {
  id: '0b5e3f0a-6f0e-4e3a-9d55-1f7c58f1c0aa',
  topic: 'orders',
  key: '7',
  payload: { total: '12.50' },
  headers: {},
  created_at: '2026-11-22 21:59:02+00',
  ord: 12,
};

function change(parts: Partial<Change>): Change {
  return {
    lane: 'orders',
    table: 'outbox',
    epoch: 1,
    offset: 10,
    ordinal: 0,
    operation: 'create',
    key: [row.id],
    before: null,
    after: null,
    ...parts,
  };
}

describe('the projection into an inbox', () => {
  const project = outboxMessages('inbox');
  const put = { target: 'inbox', key: [row.id], row };

  test('a message is put once, by its INSERT or by a snapshot', () => {
    expect(projectRow(project, change({ after: row }), ['inbox'])).toEqual([put]);
    const read = change({ operation: 'read', after: row });
    expect(projectRow(project, read, ['inbox'])).toEqual([put]);
  });

  test('deleting the row takes nothing back', () => {
    const gone = change({ operation: 'delete', before: row });
    expect(projectRow(project, gone, ['inbox'])).toEqual([]);
  });

  test('columns of your own stay in the outbox, and other topics too', () => {
    const wide = change({ after: { ...row, tenant: 3 } });
    expect(projectRow(project, wide, ['inbox'])).toEqual([put]);
    expect(projectRow(outboxMessages('inbox', ['bills']), wide, ['inbox'])).toEqual([]);
    expect(projectRow(outboxMessages('inbox', ['orders']), wide, ['inbox'])).toEqual([put]);
  });
});

describe('the table', () => {
  test('a name that needs quotes, or is none, is refused', () => {
    expect(outboxSql({ table: 'sales.outbox' })).toContain('"sales"."outbox"');
    for (const table of ['', 'a.b.c', 'out"box', '1'])
      expect(() => outboxSql({ table })).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }),
      );
    expect(() => outboxSql({ tabel: 'x' } as object)).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNKNOWN_OPTION' }),
    );
  });

  describe.skipIf(!hasPostgres)('on a server', () => {
    async function connected(url: string): Promise<Client & AsyncDisposable> {
      const client = new Client({ connectionString: url });
      await client.connect();
      return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
    }

    test('is made once, whoever makes it at the same moment, and takes a message in one INSERT', async () => {
      await using database = await freshDatabase();
      await using one = await connected(database.url);
      await using two = await connected(database.url);
      await Promise.all([one, two, one, two].map((client) => createOutbox(client)));
      await one.query(`INSERT INTO outbox (topic, key, payload) VALUES ('orders', '7', '{}')`);
      const { rows } = await one.query(
        `SELECT topic, headers, id IS NOT NULL AS named, relreplident FROM outbox, pg_class WHERE relname = 'outbox'`,
      );
      expect(rows).toEqual([{ topic: 'orders', headers: {}, named: true, relreplident: 'f' }]);
    });

    test('old messages are pruned in small transactions, and young ones are kept', async () => {
      await using database = await freshDatabase();
      await using client = await connected(database.url);
      await createOutbox(client);
      await client.query(
        `INSERT INTO outbox (topic, key, payload, created_at)
         SELECT 'orders', n::text, '{}', now() - CASE WHEN n <= 6000 THEN interval '8 days' ELSE interval '1 day' END
         FROM generate_series(1, 6010) AS n`,
      );
      expect(await pruneOutbox(client, { keep: '7d', rowsMax: 10 })).toBe(10);
      expect(await pruneOutbox(client, { keep: '7d' })).toBe(5_990);
      expect(await pruneOutbox(client, { keep: '7d' })).toBe(0);
      expect((await client.query('SELECT count(*)::int AS n FROM outbox')).rows).toEqual([
        { n: 10 },
      ]);
    });
  });
});
