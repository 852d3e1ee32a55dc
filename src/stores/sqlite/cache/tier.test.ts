import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { CacheTier, CacheValue } from '../../../ports/cache.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { sqlite } from '../index.ts';

const due = { lease: 'due', early: 0 } as const;
const day = 86_400_000;

function valueOf(key: string, tags: readonly string[]): CacheValue {
  return { key, payload: key, note: '', freshMs: day, keepMs: day, loadMs: 1, tags };
}

async function opened(): Promise<CacheTier> {
  const folder = await mkdtemp(join(tmpdir(), 'tally-cache-'));
  const store = await sqlite({ file: join(folder, 'cache.db'), synchronous: 'NORMAL' }).open({
    name: 'cache',
    clock: systemClock,
    random: systemRandom,
  });
  onTestFinished(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  return store.caches.open({ name: 'things', payload: 'text', leaseMs: 60_000 });
}

test('a sweep forgets tags that nothing is older than, and keeps those that a lease or an entry is', async () => {
  const tier = await opened();
  await tier.putMany([valueOf('a', ['early'])]);
  const [answer] = await tier.getMany(['b'], due);
  const names = Array.from({ length: 10_001 }, (_, index) => `t${index}`);
  for (let at = 0; at < names.length; at += 32) await tier.invalidateTags(names.slice(at, at + 32));
  await tier.sweep();
  const lease = answer?.lease.kind === 'granted' ? answer.lease.lease : '';
  expect(await tier.fillMany([{ ...valueOf('b', ['t9999']), lease }])).toEqual(['voided']);
  await tier.invalidate(['a']);
  await tier.sweep();
  expect(await tier.putMany([valueOf('c', ['t9999'])])).toEqual(['stored']);
  const [found] = await tier.getMany(['c'], due);
  expect(found?.entry?.payload).toBe('c');
  await tier.invalidateTags(['t9999']);
  const [gone] = await tier.getMany(['c'], due);
  expect(gone?.entry).toBeUndefined();
});
