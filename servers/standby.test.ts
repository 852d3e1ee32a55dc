import { describe, expect, test } from 'vitest';
import { hasPostgres } from '../test/support/servers.ts';
import { startPostgres, startProxy, startStandby } from './index.ts';
import { query } from './postgres.ts';

const count = 'SELECT count(*)::int AS rows FROM rows';
const timeline = `SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline`;

describe.skipIf(!hasPostgres)('a standby', () => {
  test('replays what the primary commits, and takes writes on a timeline of its own when promoted', async () => {
    await using primary = await startPostgres({ password: `it's "secret"` });
    await query(primary.url, 'CREATE TABLE rows AS SELECT generate_series(1, 1000) AS id');
    await using standby = await startStandby(primary);
    await query(primary.url, 'INSERT INTO rows VALUES (0)');
    await expect
      .poll(() => query(standby.url, count), { timeout: 20_000 })
      .toEqual([{ rows: 1001 }]);

    await primary.kill();
    await standby.promote();
    await query(standby.url, 'INSERT INTO rows VALUES (-1)');
    expect(await query(standby.url, count)).toEqual([{ rows: 1002 }]);
    expect(await query(standby.url, timeline)).toEqual([{ timeline: '00000002' }]);

    await using second = await startStandby(standby);
    await expect
      .poll(() => query(second.url, count), { timeout: 20_000 })
      .toEqual([{ rows: 1002 }]);
  });

  test('lags behind a network that passes nothing, and can be promoted without the rest', async () => {
    await using primary = await startPostgres();
    await query(primary.url, 'CREATE TABLE rows (id int)');
    await using proxy = await startProxy(primary.port);
    await using standby = await startStandby(primary, { through: proxy.port });
    await query(primary.url, 'INSERT INTO rows VALUES (1)');
    await expect.poll(() => query(standby.url, count), { timeout: 20_000 }).toEqual([{ rows: 1 }]);

    proxy.blackhole();
    await query(primary.url, 'INSERT INTO rows VALUES (2)');
    await standby.promote();
    expect(await query(standby.url, count)).toEqual([{ rows: 1 }]);
  });

  test('leaves no slot on the primary when stopped', async () => {
    await using primary = await startPostgres();
    const standby = await startStandby(primary);
    const slots = 'SELECT slot_name::text FROM pg_replication_slots';
    expect(await query(primary.url, slots)).toEqual([{ slot_name: standby.slot }]);
    await standby.stop();
    expect(await query(primary.url, slots)).toEqual([]);
  });
});
