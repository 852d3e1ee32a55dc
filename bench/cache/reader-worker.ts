import { cache } from '../../src/patterns/cache/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { redis } from '../../src/stores/redis/index.ts';
import type { ReaderMessage, ReaderOptions } from './reader-process.ts';

const { url, prefix, loadMs, readers } = JSON.parse(process.argv[2] ?? '') as ReaderOptions;
const context = { name: 'cache', clock: systemClock, random: systemRandom };
const things = await cache<string, string>({
  name: 'things',
  store: await redis({ url, prefix: `${prefix}:` }).open(context),
  ttl: '1m',
  early: 0,
  shared: { timeout: '5s' },
  load: async () => {
    tell({ kind: 'loading' });
    await systemClock.sleep(loadMs);
    return `loaded by ${process.pid}`;
  },
});
process.on('message', () => void read());
process.on('disconnect', () => process.exit(0));
tell({ kind: 'ready' });

function tell(message: ReaderMessage): void {
  process.send?.(message);
}

async function read(): Promise<void> {
  const outcomes = await Promise.allSettled(
    Array.from({ length: readers }, async () => {
      const startedAtMs = performance.now();
      await things.get('hot');
      return performance.now() - startedAtMs;
    }),
  );
  tell({
    kind: 'read',
    waitedMs: outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])),
    errors: outcomes.filter(({ status }) => status === 'rejected').length,
  });
}
