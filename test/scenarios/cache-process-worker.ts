import { setTimeout as sleep } from 'node:timers/promises';
import { cache } from '../../src/patterns/cache/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { redis } from '../../src/stores/redis/index.ts';

// One of several processes that read the same key. It is told when to begin, and says how long each reader waited.
const [url = '', prefix = '', loadMs = '100', readers = '200'] = process.argv.slice(2);
const store = await redis({ url, prefix }).open({
  name: 'cache',
  clock: systemClock,
  random: systemRandom,
});
const things = await cache<string, string>({
  name: 'things',
  store,
  ttl: '1m',
  early: 0,
  // A busy machine pauses for longer than the default.
  shared: { timeout: '5s' },
  load: async () => {
    process.send?.({ kind: 'loading' });
    await sleep(Number(loadMs));
    return `loaded by ${process.pid}`;
  },
});

process.on('message', (message) => {
  if (message === 'read') void read();
  else process.exit(0);
});
process.on('disconnect', () => process.exit(0));
process.send?.({ kind: 'ready' });

async function read(): Promise<void> {
  const one = async (): Promise<number> => {
    const startedAtMs = performance.now();
    await things.get('hot');
    return performance.now() - startedAtMs;
  };
  const outcomes = await Promise.allSettled(Array.from({ length: Number(readers) }, one));
  process.send?.({
    kind: 'read',
    waitedMs: outcomes.flatMap((outcome) =>
      outcome.status === 'fulfilled' ? [outcome.value] : [],
    ),
    errors: outcomes.filter(({ status }) => status === 'rejected').length,
  });
}
