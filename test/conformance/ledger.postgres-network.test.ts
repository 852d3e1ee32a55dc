import { describe, expect, test } from 'vitest';
import { startProxy, type Proxy } from '../../servers/proxy.ts';
import type { LedgerOperation } from '../../src/ports/ledger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { postgresLedger } from '../../src/stores/postgres/ledger/index.ts';
import { postgresLog } from '../../src/stores/postgres/log/index.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';

// The ledger and the log behind a network that breaks: resets, and connections that are open at one end alone.

const context = { name: 'coordinator', clock: systemClock, random: seededRandom('network') };
const pool = { query_timeout: 300 };

async function behindProxy(
  work: (proxy: Proxy, url: string, database: FreshDatabase) => Promise<void>,
): Promise<void> {
  await using database = await freshDatabase();
  const url = new URL(database.url);
  await using proxy = await startProxy(Number(url.port));
  url.port = String(proxy.port);
  url.hostname = '127.0.0.1';
  await work(proxy, url.href, database);
}

function put(value: string): LedgerOperation {
  return { kind: 'put', space: 's', key: 'k', value };
}

const unknown = { code: 'COMMIT_UNKNOWN', retryable: true };

describe.skipIf(!hasPostgres)('PostgreSQL behind a network that breaks', () => {
  test('a step that was given up does not happen after a later one', () =>
    behindProxy(async (proxy, url) => {
      await using ledger = await postgresLedger({ url, pool }).open(context);
      for (let round = 0; round < 5; round += 1) {
        await ledger.commit([put(`${round} before`)]);
        proxy.blackhole();
        await expect(ledger.commit([put(`${round} given up`)])).rejects.toMatchObject(unknown);
        await proxy.heal();
        await ledger.commit([put(`${round} after`)]);
        expect((await ledger.get('s', 'k'))?.value).toBe(`${round} after`);
        await ledger.commit([put(`${round} on`)]);
      }
      expect((await ledger.get('s', 'k'))?.value).toBe('4 on');
    }));

  test('a ledger goes on after its connections were reset', () =>
    behindProxy(async (proxy, url) => {
      await using ledger = await postgresLedger({ url, pool }).open(context);
      await ledger.commit([put('before')]);
      await proxy.cut();
      await expect(ledger.commit([put('cut')])).rejects.toMatchObject({ retryable: true });
      await proxy.heal();
      await ledger.commit([put('after')]);
      expect((await ledger.get('s', 'k'))?.value).toBe('after');
    }));

  test('an append that was given up does not happen after a later one', () =>
    behindProxy(async (proxy, url) => {
      await using log = await postgresLog({ url, lane: 'l', pool }).open(context);
      const record = (offset: number) =>
        ({ kind: 'commit', epoch: 1, offset, ordinal: 0, payload: '{}' }) as const;
      const older = await log.openAppender(1);
      await older.append([record(1)]);
      proxy.blackhole();
      await expect(older.append([record(2)])).rejects.toMatchObject(unknown);
      await older.close();
      await proxy.heal();
      const newer = await log.openAppender(1);
      const { next } = newer.tail;
      await newer.append([record(3)]);
      const { signal } = new AbortController();
      const offsets: number[] = [];
      for (let from = 0; from < next + 1;) {
        const batch = await log.read({ from, recordsMax: 9, bytesMax: 9_999, signal });
        offsets.push(...batch.records.map(({ offset }) => offset));
        from = batch.next;
      }
      expect(offsets).toEqual(next === 1 ? [1, 3] : [1, 2, 3]);
      expect((await log.extent()).next).toBe(next + 1);
    }));
});
