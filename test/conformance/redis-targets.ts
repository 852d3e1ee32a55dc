import { sinkTargets } from '../../src/conformance/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  hash,
  json,
  redis,
  sortedSet,
  type RedisStore,
  type TargetDeclaration,
  type Targets,
} from '../../src/stores/redis/index.ts';
import { freshRedis } from '../support/servers.ts';

/** The rows of the suites are small, and a limit of a megabyte is as good as one of 8. */
export const rowBytesMax: number = 2 ** 20;

interface Kind {
  readonly targets: Targets;
  readonly buckets: number;
}

const scores: Readonly<Record<string, string>> = {
  products: 'price',
  orders: 'total',
  keys: 'nothing',
  kinds: 'whole',
};

/** The suites' targets, declared as each kind that Redis has, in one slot and in several. */
export const targetKinds: Readonly<Record<string, Kind>> = {
  json: { targets: declared(() => json()), buckets: 1 },
  'json, 4 buckets': { targets: declared(() => json()), buckets: 4 },
  'json, expiring': { targets: declared(() => json({ ttl: '1h' })), buckets: 1 },
  hash: { targets: declared(() => hash()), buckets: 1 },
  'hash, declared fields, expiring': {
    targets: {
      ...declared(() => hash({ ttl: '1h' })),
      products: hash({ fields: { sku: 'text', name: 'text', price: 'number' } }),
    },
    buckets: 1,
  },
  'hash, 4 buckets': { targets: declared(() => hash()), buckets: 4 },
  sortedSet: { targets: declared((name) => sortedSet({ score: scores[name] ?? '' })), buckets: 1 },
};

function declared(of: (name: string) => TargetDeclaration): Targets {
  return Object.fromEntries(sinkTargets.map(({ name }) => [name, of(name)]));
}

/** A store on keys of its own, which can be closed and opened again. */
export interface OpenedTargets {
  readonly store: RedisStore;
  reopen(): Promise<void>;
  dispose(): Promise<void>;
}

export async function openTargets({ targets, buckets }: Kind): Promise<OpenedTargets> {
  const fresh = await freshRedis();
  const connect = (): Promise<RedisStore> =>
    redis({ url: fresh.url, prefix: fresh.prefix, targets, buckets, rowBytesMax }).open({
      name: 'cache',
      clock: systemClock,
      random: systemRandom,
    });
  let store = await connect();
  return {
    get store() {
      return store;
    },
    async reopen() {
      await store.close();
      store = await connect();
    },
    async dispose() {
      await store.close();
      await fresh[Symbol.asyncDispose]();
    },
  };
}
