import { afterAll, beforeAll, describe, test } from 'vitest';
import { keyValueConformance } from '../../src/conformance/key-value.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { openDatabase, type Database } from '../../src/stores/postgres/database.ts';
import { openKeyValue } from '../../src/stores/postgres/key-value/index.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';

const VALUE_BYTES_MAX = 1024 * 1024;
let fresh: FreshDatabase;
let count = 0;

describe.skipIf(!hasPostgres)('key-value entries in PostgreSQL', () => {
  beforeAll(async () => {
    fresh = await freshDatabase();
  });
  afterAll(async () => {
    await fresh[Symbol.asyncDispose]();
  });

  keyValueConformance({
    test,
    supports: {
      ttlResolutionMs: 1,
      compareAndSet: true,
      keyBytesMax: 2_048,
      valueBytesMax: VALUE_BYTES_MAX,
    },
    open: async () => {
      let nowMs = 1_700_000_000_000;
      const clock: Clock = { ...systemClock, nowMs: () => nowMs };
      const schema = `kv_${(count += 1)}`;
      const context = { name: 'sessions', clock, random: seededRandom(schema) };
      const connect = (): Promise<Database> => openDatabase(context, { url: fresh.url, schema });
      let database = await connect();
      let keyValue = openKeyValue(database, { valueBytesMax: VALUE_BYTES_MAX });
      return {
        get keyValue() {
          return keyValue;
        },
        async advance(delayMs) {
          nowMs += delayMs;
        },
        async reopen() {
          await database.close();
          database = await connect();
          keyValue = openKeyValue(database, { valueBytesMax: VALUE_BYTES_MAX });
        },
        dispose: () => database.close(),
      };
    },
  });
});
