import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { CacheTier } from '../../src/ports/cache.ts';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { memcached } from '../../src/stores/memcached/index.ts';
import { sqlite } from '../../src/stores/sqlite/index.ts';
import { freshMemcached, hasMemcached } from '../support/servers.ts';

const due = { lease: 'due', early: 0 } as const;

async function tierOf(definition: StoreDefinition): Promise<CacheTier> {
  const store = await definition.open({ name: 'cache', clock: systemClock, random: systemRandom });
  onTestFinished(() => store.close());
  const tier = await store.caches?.open({ name: 'things', payload: 'text', leaseMs: 600_000 });
  if (tier === undefined) throw new Error('no caches');
  return tier;
}

/** Another process that has the lease on `key`. */
async function holder(...args: readonly string[]): Promise<ChildProcess> {
  const main = join(import.meta.dirname, 'cache-holder-worker.ts');
  const options = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const child = spawn(process.execPath, [...options, main, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  expect(said.toString().trim()).toBe('granted');
  return child;
}

async function heldLease(tier: CacheTier): Promise<string> {
  const [answer] = await tier.getMany(['key'], due);
  expect(answer?.lease.kind).toBe('held');
  return answer?.lease.kind === 'held' ? answer.lease.lease : '';
}

/** What becomes of a lease of ten minutes when its holder is killed. */
async function story(tier: CacheTier, child: ChildProcess): Promise<void> {
  await heldLease(tier);
  child.kill('SIGKILL');
  const killedMs = systemClock.monotonicMs();
  for (;;) {
    const answers = await Promise.all(Array.from({ length: 50 }, () => tier.getMany(['key'], due)));
    const leases = answers.map(([answer]) => answer?.lease);
    if (leases.some((lease) => lease?.kind === 'granted')) {
      expect(leases.filter((lease) => lease?.kind === 'granted').length).toBe(1);
      expect(leases.filter((lease) => lease?.kind === 'held').length).toBe(49);
      break;
    }
    await Promise.all(
      leases.map(async (lease) => lease?.kind === 'held' && tier.settled('key', lease.lease)),
    );
  }
  // A busy machine may take a second to run what is due.
  const tookMs = systemClock.monotonicMs() - killedMs;
  expect(tookMs).toBeLessThan(tier.supports.deathNoticedMs + 1_000);
}

test.skipIf(!hasMemcached)(
  'the lease of a killed process goes to one of those who wait, in Memcached',
  async () => {
    const fresh = freshMemcached();
    const tier = await tierOf(memcached(fresh));
    const child = await holder('memcached', fresh.url, fresh.prefix);
    await story(tier, child);
  },
);

test('the lease of a killed process goes to one of those who wait, in SQLite; one of a stopped process stays', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tally-cache-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'cache.db');
  const tier = await tierOf(sqlite({ file }));
  const child = await holder('sqlite', file);
  child.kill('SIGSTOP');
  const lease = await heldLease(tier);
  const wait = tier.settled('key', lease).then(() => 'over');
  expect(await Promise.race([wait, systemClock.sleep(1_000).then(() => 'held')])).toBe('held');
  await story(tier, child);
});
