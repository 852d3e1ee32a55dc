import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { hash, json, redis, type RedisStore } from '../../src/stores/redis/index.ts';
import { applyForEver, numberedBatches, target, type NumberedBatches } from './numbered-batches.ts';

/** More than one script takes, so that a batch can be cut off in its middle. */
export const batches: NumberedBatches = numberedBatches(2_500);

/** Opens the store that batches are applied to. */
export function openStore(url: string, prefix: string, buckets: number): Promise<RedisStore> {
  const targets = { [target]: buckets === 1 ? json() : hash() };
  return redis({ url, prefix, buckets, targets }).open({
    name: 'target',
    clock: systemClock,
    random: systemRandom,
  });
}

// `node redis-applier.ts URL PREFIX BUCKETS EPOCH` goes on from the checkpoint with numbered batches until it is
// killed, and writes the number of each batch that was acknowledged.
if (import.meta.main) {
  const [, , url = '', prefix = '', buckets = '1', epoch = '1'] = process.argv;
  const store = await openStore(url, prefix, Number(buckets));
  const session = await store.sink.open({
    flow: 'numbers',
    generation: 1,
    targets: [{ target }],
    workerEpoch: Number(epoch),
  });
  await applyForEver(session, batches.batchOf);
}
