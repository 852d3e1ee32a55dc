import assert from 'node:assert/strict';
import type { CacheEvent } from '../ports/cache.ts';
import {
  always,
  ask,
  fill,
  found,
  lease,
  rejects,
  value,
  type CacheCase,
} from './cache-harness.ts';

const tagged: CacheCase['when'] = ({ tags }) => tags;
const fenced: CacheCase['when'] = ({ fences }) => fences;

/** Nothing from before an invalidation is found or stored after it. */
export const cacheInvalidationCases: readonly CacheCase[] = [
  {
    id: 'CA-040',
    policy: 'never stores what was loaded under a lease from before an invalidation',
    run: async (subject, tier) => {
      const other = await subject.open();
      await tier.putMany([value('there', 'old')]);
      for (const key of ['there', 'missing']) {
        const token = await lease(tier, key, always);
        await other.invalidate([key]);
        assert.equal(await found(tier, key), undefined);
        assert.equal(await fill(tier, token, value(key, 'old')), 'voided');
        assert.equal(await found(other, key), undefined);
        const next = await lease(other, key);
        assert.equal(await fill(tier, token, value(key, 'old')), 'voided');
        assert.equal(await fill(other, next, value(key, 'new')), 'stored');
        assert.equal(await found(tier, key), 'new');
      }
    },
  },
  {
    id: 'CA-041',
    policy: 'never stores what was loaded under a lease from before a set',
    run: async (subject, tier) => {
      const other = await subject.open();
      const token = await lease(tier, 'a');
      assert.deepEqual(await other.putMany([value('a', 'new')]), ['stored']);
      assert.equal(await fill(tier, token, value('a', 'old')), 'voided');
      assert.equal(await found(tier, 'a'), 'new');
    },
  },
  {
    id: 'CA-042',
    policy: 'invalidates only the keys that are named, many in one call',
    run: async (_subject, tier) => {
      await tier.putMany(['a', 'b', 'c'].map((key) => value(key, key)));
      await tier.invalidate(['a', 'c', 'none']);
      assert.deepEqual(
        [await found(tier, 'a'), await found(tier, 'b'), await found(tier, 'c')],
        [undefined, 'b', undefined],
      );
    },
  },
  {
    id: 'CA-043',
    policy: 'keeps an expired entry for those who accept a stale one, and grants the lease on it',
    run: async (_subject, tier) => {
      await tier.putMany([value('a', 'old')]);
      const before = await lease(tier, 'a', always);
      await tier.invalidate(['a', 'none'], { as: 'expire' });
      assert.equal(await fill(tier, before, value('a', 'older')), 'voided');
      const { entry, lease: answer } = await ask(tier, 'a');
      assert.equal(entry?.payload, 'old');
      assert.ok((entry?.freshForMs ?? 1) <= 0);
      assert.equal(answer.kind, 'granted');
    },
  },
  {
    id: 'CA-044',
    policy:
      'grants no lease on a key that is held for a write, until the write invalidates it or its time is over',
    run: async (subject, tier) => {
      const other = await subject.open();
      await tier.putMany([value('a', 'old')]);
      await tier.invalidate(['a', 'b'], { barMs: 600 * subject.stepMs });
      assert.deepEqual(await ask(other, 'a'), { entry: undefined, lease: { kind: 'barred' } });
      await tier.invalidate(['a']);
      await lease(other, 'a');
      assert.equal((await ask(other, 'b')).lease.kind, 'barred');
      await tier.invalidate(['b'], { barMs: 2 * subject.stepMs });
      await subject.advance(3 * subject.stepMs);
      await lease(other, 'b');
    },
  },
  {
    id: 'CA-045',
    policy: 'finds nothing that carries an invalidated tag, and everything that does not',
    when: tagged,
    run: async (subject, tier) => {
      const other = await subject.open();
      await tier.putMany([
        value('a', 'a', { tags: ['red', 'big'] }),
        value('b', 'b', { tags: ['blue'] }),
        value('c', 'c'),
      ]);
      assert.deepEqual((await ask(tier, 'a')).entry?.tags, ['red', 'big']);
      await other.invalidateTags(['big', 'none']);
      assert.equal(await found(tier, 'a'), undefined);
      assert.equal(await found(tier, 'b'), 'b');
      assert.equal(await found(tier, 'c'), 'c');
      await tier.putMany([value('a', 'again', { tags: ['red', 'big'] })]);
      assert.equal(await found(other, 'a'), 'again');
      await other.invalidateTags(['red', 'blue']);
      assert.equal(await found(tier, 'a'), undefined);
      assert.equal(await found(tier, 'b'), undefined);
    },
  },
  {
    id: 'CA-046',
    policy: 'never stores what was loaded under a lease from before its tag was invalidated',
    when: tagged,
    run: async (subject, tier) => {
      const other = await subject.open();
      const token = await lease(tier, 'a');
      await other.invalidateTags(['red']);
      assert.equal(await fill(tier, token, value('a', 'old', { tags: ['red'] })), 'voided');
      assert.equal(await found(tier, 'a'), undefined);
      const next = await lease(other, 'a');
      assert.equal(await fill(other, next, value('a', 'new', { tags: ['red'] })), 'stored');
      assert.equal(await found(tier, 'a'), 'new');
    },
  },
  {
    id: 'CA-047',
    policy: 'refuses tags, which its manifest does not offer',
    when: ({ tags }) => !tags,
    run: async (_subject, tier) => {
      await rejects(() => tier.putMany([value('a', 'x', { tags: ['t'] })]), 'CAPABILITY_MISSING');
      await rejects(() => tier.invalidateTags(['t']), 'CAPABILITY_MISSING');
    },
  },
  {
    id: 'CA-048',
    policy: 'invalidates everything of its name, leases included, and nothing of another',
    run: async (subject, tier) => {
      const other = await subject.open();
      const elsewhere = await subject.open({ name: 'others' });
      await tier.putMany([value('a', 'x'), value('b', 'y')]);
      await elsewhere.putMany([value('a', 'z')]);
      const token = await lease(tier, 'c');
      await other.invalidateAll();
      assert.equal(await found(tier, 'a'), undefined);
      assert.equal(await found(tier, 'b'), undefined);
      assert.equal(await fill(tier, token, value('c', 'old')), 'voided');
      assert.equal(await found(elsewhere, 'a'), 'z');
      const next = await lease(tier, 'a');
      assert.equal(await fill(tier, next, value('a', 'new')), 'stored');
      assert.equal(await found(other, 'a'), 'new');
    },
  },
  {
    id: 'CA-049',
    policy: 'stores nothing that is older than what it holds, or than an invalidation',
    when: fenced,
    run: async (_subject, tier) => {
      const at = (epoch: number, offset: number): { fence: { epoch: number; offset: number } } => ({
        fence: { epoch, offset },
      });
      assert.deepEqual(await tier.putMany([value('a', '5', at(1, 5))]), ['stored']);
      assert.deepEqual((await ask(tier, 'a')).entry?.fence, { epoch: 1, offset: 5 });
      assert.deepEqual(await tier.putMany([value('a', '4', at(1, 4))]), ['older']);
      assert.deepEqual(await tier.putMany([value('a', '5 again', at(1, 5))]), ['stored']);
      const token = await lease(tier, 'a', always);
      assert.equal(await fill(tier, token, value('a', '4', at(1, 4))), 'older');
      await tier.invalidate(['a', 'b'], at(1, 9));
      assert.equal(await found(tier, 'a'), undefined);
      for (const key of ['a', 'b']) {
        const late = await lease(tier, key);
        assert.equal(await fill(tier, late, value(key, '8', at(1, 8))), 'older');
        const right = await lease(tier, key);
        assert.equal(await fill(tier, right, value(key, '9', at(1, 9))), 'stored');
      }
      // A later epoch is newer, and as a number past what a double holds.
      assert.deepEqual(await tier.putMany([value('a', '8191', at(8_191, 2 ** 50 - 2))]), [
        'stored',
      ]);
      assert.deepEqual(await tier.putMany([value('a', 'x', at(8_191, 2 ** 50 - 3))]), ['older']);
      assert.equal(await found(tier, 'a'), '8191');
    },
  },
  {
    id: 'CA-050',
    policy: 'keeps an entry, and the lease on it, that an invalidation is not newer than',
    when: fenced,
    run: async (_subject, tier) => {
      const fence = { epoch: 2, offset: 7 };
      await tier.putMany([value('a', 'new', { fence })]);
      const token = await lease(tier, 'a', always);
      await tier.invalidate(['a'], { fence: { epoch: 2, offset: 6 } });
      await tier.invalidate(['a'], { fence });
      assert.equal(await found(tier, 'a'), 'new');
      assert.equal(await fill(tier, token, value('a', 'newer', { fence })), 'stored');
      await tier.invalidate(['a'], { fence: { epoch: 2, offset: 8 } });
      assert.equal(await found(tier, 'a'), undefined);
      await tier.putMany([value('b', 'without')]);
      await tier.invalidate(['b'], { fence });
      assert.equal(await found(tier, 'b'), undefined);
    },
  },
  {
    id: 'CA-051',
    policy: 'refuses fences, which its manifest does not offer',
    when: ({ fences }) => !fences,
    run: async (_subject, tier) => {
      const fence = { epoch: 1, offset: 1 };
      await rejects(() => tier.putMany([value('a', 'x', { fence })]), 'CAPABILITY_MISSING');
      await rejects(() => tier.invalidate(['a'], { fence }), 'CAPABILITY_MISSING');
    },
  },
  {
    id: 'CA-052',
    policy: 'tells who watches of what others change, in order',
    when: ({ watches }) => watches,
    run: async (subject, tier) => {
      const other = await subject.open();
      const events: CacheEvent[] = [];
      let told = (): void => undefined;
      const stop = await tier.watch((event) => {
        events.push(event);
        told();
      });
      assert.deepEqual(events, [{ kind: 'watching' }]);
      const seen = async (wanted: CacheEvent): Promise<void> => {
        const isSeen = (): boolean =>
          events.some((event) => JSON.stringify(event) === JSON.stringify(wanted));
        while (!isSeen()) {
          const { promise, resolve } = Promise.withResolvers<void>();
          told = resolve;
          await promise;
        }
      };
      await other.putMany([value('a', 'x', { tags: tier.supports.tags ? ['red'] : [] })]);
      await seen({ kind: 'key', key: 'a' });
      await other.invalidate(['b c']);
      if (tier.supports.tags) {
        await other.invalidateTags(['red']);
        await seen({ kind: 'tag', tag: 'red' });
      }
      await other.putMany([value('b', 'x')]);
      await other.invalidate(['b']);
      await seen({ kind: 'key', key: 'b' });
      await other.invalidateAll();
      await seen({ kind: 'all' });
      await stop();
    },
  },
  {
    id: 'CA-052',
    policy: 'refuses to be watched, which its manifest does not offer',
    when: ({ watches }) => !watches,
    run: async (_subject, tier) => {
      await rejects(() => tier.watch(() => undefined), 'CAPABILITY_MISSING');
    },
  },
];
