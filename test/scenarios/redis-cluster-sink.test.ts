import { afterAll, beforeAll, describe, test } from 'vitest';
import { startRedisCluster, type RedisCluster } from '../../servers/redis-cluster.ts';
import { sinkConformance } from '../../src/conformance/sink.ts';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { redis, type RedisStore } from '../../src/stores/redis/index.ts';
import { sinkSupportsOf } from '../../src/stores/redis/supports.ts';
import { rowBytesMax, targetKinds } from '../conformance/redis-targets.ts';
import { freshPrefix, hasRedis } from '../support/servers.ts';

const context = { name: 'cache', clock: systemClock, random: systemRandom };

describe.skipIf(!hasRedis)('targets on a cluster of three Redis', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  for (const [name, { targets, buckets }] of Object.entries(targetKinds)) {
    describe(name, () => {
      sinkConformance({
        test,
        supports: sinkSupportsOf({ buckets, rowBytesMax }),
        open: async () => {
          const prefix = freshPrefix();
          const connect = (): Promise<RedisStore> =>
            redis({ cluster: cluster.urls, prefix, targets, buckets, rowBytesMax }).open(context);
          let store = await connect();
          return {
            get sink() {
              return store.sink;
            },
            async read(target) {
              const rows = new Map<string, Row>();
              for await (const page of store.scan.scan(target, { rowsMax: 1_000 }))
                for (const { key, row } of page) rows.set(encodeKey(key), row);
              return rows;
            },
            async reopen() {
              await store.close();
              store = await connect();
            },
            dispose: () => store.close(),
          };
        },
      });
    });
  }
});
