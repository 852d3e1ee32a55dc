import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { findServers } from '../../examples/shop/servers.ts';
import { boundaries } from '../../examples/shop/verify/boundaries.ts';
import { plantFault } from '../../examples/shop/verify/plant.ts';
import { isWhole, verify } from '../../examples/shop/verify/verify.ts';
import { hasPostgres, hasRedis, postgresUrl, redisUrl } from '../support/servers.ts';
import { fixture, runShop, startShop } from './run-shop.ts';

const LIMIT_MS = 120_000;
/** Whatever the environment of the tests names: these runs start servers of their own. */
const own = { TALLY_POSTGRES_URL: '', TALLY_REDIS_URL: '' };

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tally-shop-servers-'));
  // PostgreSQL does not run as root: where the tests do, its user has to get in.
  await chmod(directory, 0o755);
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe.skipIf(!hasPostgres || !hasRedis)('on servers', () => {
  /** Those that all tests share: the shop takes them for somebody's. */
  const given = (): Record<string, string> => ({
    TALLY_POSTGRES_URL: postgresUrl(),
    TALLY_REDIS_URL: redisUrl(),
  });

  test(
    'nothing is lost when the worker, Redis and PostgreSQL are killed',
    { timeout: LIMIT_MS },
    async () => {
      const args = ['--servers', '--for', '12s', '--kill-every', '2s', '--seed', '3', '--json'];
      const { code, report, stderr } = await runShop(args, own);
      expect(stderr).toContain('Nothing lost, doubled or left behind.');
      expect(code).toBe(0);
      expect(report).toMatchObject({ ok: true, leftBehind: [], reads: { wrong: {} } });
      expect(report?.kills.total).toBeGreaterThanOrEqual(1);
      expect(report?.outages['Redis']).toBeGreaterThanOrEqual(1);
      expect(report?.outages['PostgreSQL']).toBeGreaterThanOrEqual(1);
      for (const boundary of boundaries)
        expect(report?.drift[boundary], boundary).toMatchObject({ lost: 0, extra: 0, stale: 0 });
      expect(report?.drift['stock']?.checked).toBeGreaterThan(0);
      expect(report?.drift['recentOrders']?.checked).toBeGreaterThan(0);
    },
  );

  test(
    'sells a file once, and goes on with the data of its own servers',
    { timeout: LIMIT_MS },
    async () => {
      const dir = join(directory, 'twice');
      const args = ['--servers', '--input', fixture, '--json', '--dir', dir];
      const first = await runShop(args, own);
      expect(first.stderr).toContain('Nothing lost, doubled or left behind.');
      const second = await runShop(args, own);
      for (const { code, report } of [first, second]) {
        expect(code).toBe(0);
        expect(report).toMatchObject({ ok: true, lines: 188, linesReplayed: 188 });
        expect(report?.badLines.total).toBe(12);
      }
      const elsewhere = await runShop(args, { ...own, TALLY_REDIS_URL: redisUrl() });
      expect(elsewhere.code).toBe(2);
      expect(elsewhere.stderr).toContain('CONFIG_INVALID');
      expect(elsewhere.stderr).toContain('unset TALLY_REDIS_URL');
    },
  );

  test(
    'the check finds what is lost, doubled or stale in Redis, by the orders in PostgreSQL',
    { timeout: LIMIT_MS },
    async () => {
      const dir = join(directory, 'planted');
      const ran = await runShop(['--servers', '--for', '2s', '--json', '--dir', dir], given());
      expect(ran.code).toBe(0);
      for (const [name, url] of Object.entries(given())) vi.stubEnv(name, url);
      // The shop's own name is in its folder; what it left on the servers goes at the end.
      await using found = await findServers({ dir, data: 'removed', say: () => undefined });
      const { servers } = found;
      expect(isWhole(await verify(dir, servers))).toBe(true);
      for (const boundary of ['stock', 'recentOrders'] as const) {
        // One after the other at the same row: the stale one is doubled, then lost.
        await plantFault(dir, { boundary, fault: 'stale' }, servers);
        const stale = await verify(dir, servers);
        expect(stale[boundary]).toMatchObject({ lost: 0, extra: 0, stale: 1 });
        await plantFault(dir, { boundary, fault: 'doubled' }, servers);
        const doubled = await verify(dir, servers);
        expect(doubled[boundary]).toMatchObject({ lost: 0, extra: 1, stale: 1 });
        await plantFault(dir, { boundary, fault: 'lost' }, servers);
        const lost = await verify(dir, servers);
        expect(lost[boundary]).toMatchObject({ lost: 1, extra: 1, stale: 0 });
      }
      vi.unstubAllEnvs();
    },
  );

  test.each(['lost:salesReports', 'doubled:eventStream', 'stale:recentOrders'])(
    'exits with 1 after --plant %s, and leaves nothing on servers of others',
    { timeout: LIMIT_MS },
    async (fault) => {
      const args = ['--servers', '--for', '500ms', '--json', '--plant', fault];
      const { code, report, stderr } = await runShop(args, given());
      expect(code).toBe(1);
      expect(report).toMatchObject({ ok: false, leftBehind: [] });
      const name = /keys (shop_[0-9a-f]+):/.exec(stderr)?.[1] ?? '';
      expect(name).not.toBe('');
      expect(await leftOnServers(name)).toEqual({ databases: 0, slots: 0, keys: [] });
    },
  );

  test('a second shop in the folder is refused', { timeout: LIMIT_MS }, async () => {
    const dir = join(directory, 'shared');
    const first = startShop(['--servers', '--json', '--dir', dir], own);
    await first.says(' orders, ');
    const second = await runShop(['--servers', '--for', '1s', '--dir', dir], own);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('STORE_BUSY');
    first.child.kill('SIGINT');
    const { code, stdout } = await first.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
    const inFiles = await runShop(['--for', '1s', '--dir', dir]);
    expect(inFiles.code).toBe(2);
    expect(inFiles.stderr).toContain('add --servers');
  });
});

test.each([
  ['TALLY_POSTGRES_URL', 'postgres://shop:hidden@127.0.0.1:1/postgres'],
  ['TALLY_REDIS_URL', 'redis://:hidden@127.0.0.1:1'],
])(
  'a server that %s names and that is not there is STORE_UNREACHABLE, with a remedy',
  { timeout: LIMIT_MS },
  async (name, url) => {
    const { code, stderr, stdout } = await runShop(['--servers', '--for', '1s', '--json'], {
      ...own,
      [name]: url,
    });
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('STORE_UNREACHABLE');
    expect(stderr).toContain(`unset ${name}`);
    expect(stderr).not.toContain('hidden');
  },
);

async function leftOnServers(name: string): Promise<unknown> {
  const client = new Client({ connectionString: postgresUrl() });
  await client.connect();
  const count = async (sql: string): Promise<number> =>
    Number((await client.query<{ n: string }>(sql, [name])).rows[0]?.n);
  const databases = await count('SELECT count(*) AS n FROM pg_database WHERE datname = $1');
  const slots = await count('SELECT count(*) AS n FROM pg_replication_slots WHERE database = $1');
  await client.end();
  const redis = createClient({ url: redisUrl() });
  await redis.connect();
  const keys = await redis.keys(`${name}:*`);
  redis.destroy();
  return { databases, slots, keys };
}
