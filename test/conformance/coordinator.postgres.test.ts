import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import { postgresLedger, postgresLog } from '../../src/stores/postgres/index.ts';
import {
  copied,
  inFolder,
  openCopy,
  owned,
  WITHIN,
  write,
  type CopyOptions,
} from '../support/copy-app.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

// An application that keeps all of the coordinator's own state in PostgreSQL.

function coordinator(url: string): CopyOptions {
  return {
    app: { ledger: postgresLedger({ url }), log: (lane) => postgresLog({ url, lane }) },
  };
}

async function execute(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}

describe.skipIf(!hasPostgres)('an application with its ledger and log in PostgreSQL', () => {
  test('flows, goes on where it stopped, and needs nothing in its folder', () =>
    inFolder(async (dir) => {
      await using database = await freshDatabase();
      const options = coordinator(database.url);
      for (let round = 0; round < 3; round += 1) {
        await using app = await openCopy(dir, options);
        const after = await write(app, { a: String(round), [`r${round}`]: 'x' });
        expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
      }
      expect(copied(dir)).toEqual(owned(dir));
    }));

  test('is carried on by a second worker when the first stops', () =>
    inFolder(async (dir) => {
      await using database = await freshDatabase();
      const options = coordinator(database.url);
      const first = await openCopy(dir, options);
      await using second = await openCopy(dir, options);
      const one = await write(first, { a: '1' });
      expect(await first.barrier('search', { after: one, within: WITHIN })).toEqual({
        kind: 'fresh',
      });
      await first.close();
      const two = await write(second, { a: '2', b: '1' });
      expect(await second.barrier('search', { after: two, within: WITHIN })).toEqual({
        kind: 'fresh',
      });
      expect(copied(dir)).toEqual(owned(dir));
    }));

  test('flows again within two seconds after its ledger alone was lost', () =>
    inFolder(async (dir) => {
      await using database = await freshDatabase();
      const options = coordinator(database.url);
      for (let round = 0; round < 6; round += 1) {
        await using app = await openCopy(dir, options);
        const after = await write(app, { a: String(round) });
        expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
      }
      await execute(database.url, 'TRUNCATE _tally.ledger_record, _tally.ledger_lease');
      await using app = await openCopy(dir, options);
      const after = await write(app, { a: 'after', b: '1' });
      expect(await app.barrier('search', { after, within: '2s' })).toEqual({ kind: 'fresh' });
      expect(copied(dir)).toEqual(owned(dir));
    }));
});
