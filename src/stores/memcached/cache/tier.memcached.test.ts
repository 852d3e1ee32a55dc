import { describe, expect, onTestFinished, test } from 'vitest';
import { startMemcached } from '../../../../servers/index.ts';
import { freshMemcached, hasMemcached } from '../../../../test/support/servers.ts';
import type { CacheTier, CacheValue } from '../../../ports/cache.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { memcached, type MemcachedStore } from '../index.ts';

const context = { name: 'cache', clock: systemClock, random: systemRandom };
const due = { lease: 'due', early: 0 } as const;

interface Opened {
  readonly tier: CacheTier;
  readonly store: MemcachedStore;
}

async function opened(options: { url: string; prefix?: string }): Promise<Opened> {
  const store = await memcached(options).open(context);
  const tier = await store.caches.open({ name: 'things', payload: 'text', leaseMs: 60_000 });
  onTestFinished(async () => {
    await tier.close();
    await store.close();
  });
  return { tier, store };
}

function valueOf(key: string, payload: string, tags: readonly string[] = []): CacheValue {
  return { key, payload, note: '', freshMs: 60_000, keepMs: 90_000, loadMs: 1, tags };
}

async function leased(tier: CacheTier, key: string): Promise<string> {
  const [answer] = await tier.getMany([key], due);
  expect(answer?.lease.kind).toBe('granted');
  return answer?.lease.kind === 'granted' ? answer.lease.lease : '';
}

async function payloadOf(tier: CacheTier, key: string): Promise<unknown> {
  const [answer] = await tier.getMany([key], { lease: 'none', early: 0 });
  return answer?.entry?.payload;
}

describe.skipIf(!hasMemcached)('the cache tier in Memcached', () => {
  test('what Memcached forgets of invalidations costs loads, and never brings a value back', async () => {
    const fresh = freshMemcached();
    const { tier, store } = await opened(fresh);
    const root = `${fresh.prefix}_c:things:`;
    await tier.putMany([valueOf('a', 'red', ['red']), valueOf('b', 'plain')]);
    await tier.invalidateTags(['other']);
    expect(await payloadOf(tier, 'a')).toBe('red');
    // The tag is forgotten.
    await store.client.send({ verb: 'md', key: `${root}tred` });
    expect(await payloadOf(tier, 'a')).toBeUndefined();
    expect(await payloadOf(tier, 'b')).toBe('plain');
    const before = await leased(tier, 'c');
    await tier.putMany([valueOf('a', 'red again', ['red'])]);
    expect(await payloadOf(tier, 'a')).toBe('red again');
    // The count is forgotten: in the next generation nothing of this one counts, a lease neither.
    await store.client.send({ verb: 'md', key: `${root}s` });
    expect(await payloadOf(tier, 'a')).toBeUndefined();
    expect(await payloadOf(tier, 'b')).toBeUndefined();
    expect(await tier.fillMany([{ ...valueOf('c', 'old'), lease: before }])).toEqual(['voided']);
    expect(await payloadOf(tier, 'c')).toBeUndefined();
  });

  test('concurrent invalidations of one tag never make its record smaller', async () => {
    const fresh = freshMemcached();
    const [one, other] = [await opened(fresh), await opened(fresh)];
    for (let round = 0; round < 20; round += 1) {
      const token = await leased(one.tier, `key ${round}`);
      await Promise.all([
        one.tier.invalidateTags(['t']),
        other.tier.invalidateTags(['t', 'u']),
        one.tier.invalidateTags(['t']),
      ]);
      const fill = { ...valueOf(`key ${round}`, 'old', ['t']), lease: token };
      expect(await one.tier.fillMany([fill])).toEqual(['voided']);
    }
  });

  test('after a restart no lease of before stores anything, though versions begin again', async () => {
    await using server = await startMemcached();
    const { tier } = await opened({ url: server.url });
    const other = await opened({ url: server.url });
    const old = await leased(tier, 'a');
    await systemClock.sleep(1_000);
    await server.kill();
    await server.restart();
    const again = async (): Promise<string> => {
      for (;;)
        try {
          return await leased(other.tier, 'a');
        } catch (error) {
          expect(error).toMatchObject({ code: 'STORE_UNREACHABLE' });
          await systemClock.sleep(10);
        }
    };
    const fresh = await again();
    const stale = async (): Promise<unknown> => {
      for (;;)
        try {
          return await tier.fillMany([{ ...valueOf('a', 'old'), lease: old }]);
        } catch (error) {
          expect(error).toMatchObject({ code: 'STORE_UNREACHABLE' });
          await systemClock.sleep(10);
        }
    };
    expect(await stale()).toEqual(['voided']);
    expect(await other.tier.fillMany([{ ...valueOf('a', 'new'), lease: fresh }])).toEqual([
      'stored',
    ]);
    expect(await payloadOf(other.tier, 'a')).toBe('new');
  });

  test('all who wait in a process ask Memcached with one write at a time, and fetch no values', async () => {
    const fresh = freshMemcached();
    const [holder, waiter] = [await opened(fresh), await opened(fresh)];
    const keys = Array.from({ length: 50 }, (_, index) => `k${index}`);
    const granted = await holder.tier.getMany(keys, due);
    const held = await waiter.tier.getMany(keys, due);
    const gets = async (): Promise<number> => {
      let count = 0;
      await holder.store.client.command('stats', (line) => {
        const [, text] = /^STAT cmd_get (\d+)$/.exec(line) ?? [];
        if (text !== undefined) count = Number(text);
      });
      return count;
    };
    const before = await gets();
    const waits = held.flatMap(({ lease }, index) =>
      lease.kind === 'held'
        ? Array.from({ length: 20 }, () => waiter.tier.settled(keys[index] ?? '', lease.lease))
        : [],
    );
    expect(waits.length).toBe(1_000);
    await systemClock.sleep(200);
    // A thousand waiters on fifty keys: fifty gets and one sign of life every 10 ms at most.
    expect((await gets()) - before).toBeLessThan(25 * 51);
    await holder.tier.fillMany(
      granted.flatMap(({ lease }, index) =>
        lease.kind === 'granted'
          ? [{ ...valueOf(keys[index] ?? '', 'x'), lease: lease.lease }]
          : [],
      ),
    );
    await Promise.all(waits);
  });

  test('a lease on a value that is there ends with its time, also for who waits', async () => {
    const fresh = freshMemcached();
    const { tier } = await opened(fresh);
    const store = await memcached(fresh).open(context);
    onTestFinished(() => store.close());
    const brief = await store.caches.open({ name: 'things', payload: 'text', leaseMs: 500 });
    onTestFinished(() => brief.close());
    await tier.putMany([valueOf('a', 'old')]);
    const [granted] = await brief.getMany(['a'], { lease: 'always', early: 0 });
    const [held] = await tier.getMany(['a'], { lease: 'always', early: 0 });
    if (granted?.lease.kind !== 'granted' || held?.lease.kind !== 'held')
      throw new Error('no lease');
    await tier.settled('a', held.lease.lease);
    const [next] = await tier.getMany(['a'], { lease: 'always', early: 0 });
    expect(next?.lease.kind).toBe('granted');
    expect(await brief.fillMany([{ ...valueOf('a', 'late'), lease: granted.lease.lease }])).toEqual(
      ['voided'],
    );
    expect(await payloadOf(tier, 'a')).toBe('old');
  });
});
