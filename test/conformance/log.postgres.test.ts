import { afterAll, beforeAll, describe, test } from 'vitest';
import { logConformance } from '../../src/conformance/log.ts';
import { must } from '../../src/core/errors.ts';
import type { Log } from '../../src/ports/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { postgresLog } from '../../src/stores/postgres/log/index.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';

const context = { name: 'orders', clock: systemClock, random: systemRandom };
const lanes = new Map<Log, string>();
let database: FreshDatabase;
let count = 0;

async function openLane(lane: string, bound: { readonly bytesMax?: number } = {}): Promise<Log> {
  const log = await postgresLog({ url: database.url, lane, ...bound }).open(context);
  lanes.set(log, lane);
  return log;
}

describe.skipIf(!hasPostgres)('the log in PostgreSQL', () => {
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
  });

  logConformance({
    test,
    open: () => openLane(`lane ${(count += 1)}`),
    reopen: async (log) => {
      await log.close();
      return openLane(must(lanes.get(log), 'the lane'));
    },
    openBounded: async () => {
      const log = await openLane(`bounded ${(count += 1)}`, { bytesMax: 20_000 });
      return { log, recordsMax: 20 };
    },
  });
});
