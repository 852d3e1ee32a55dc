import { afterAll, beforeAll, describe, test } from 'vitest';
import { logConformance } from '../../src/conformance/log.ts';
import type { Log } from '../../src/ports/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { redisLog } from '../../src/stores/redis/log/index.ts';
import { freshRedis, hasRedis, type FreshRedis } from '../support/servers.ts';

const context = { name: 'orders', clock: systemClock, random: systemRandom };

describe.skipIf(!hasRedis)('the log in a stream of Redis', () => {
  const names = new Map<Log, string>();
  let fresh: FreshRedis;
  beforeAll(async () => {
    fresh = await freshRedis();
  });
  afterAll(async () => {
    await fresh[Symbol.asyncDispose]();
  });
  let opened = 0;
  const openAs = async (name: string, bound = {}): Promise<Log> => {
    const log = await redisLog({ url: fresh.url, prefix: fresh.prefix, name, ...bound }).open(
      context,
    );
    names.set(log, name);
    return log;
  };
  logConformance({
    test,
    open: () => openAs(`log ${(opened += 1)}`),
    reopen: async (log) => {
      await log.close();
      return openAs(names.get(log) ?? '');
    },
    openBounded: async () => ({
      log: await openAs(`log ${(opened += 1)}`, { bytesMax: 10_000 }),
      recordsMax: 20,
    }),
  });
});
