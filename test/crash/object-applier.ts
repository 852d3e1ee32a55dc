import { armFromEnvironment } from '../../src/observe/arm.ts';
import type { Write } from '../../src/core/write.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { files } from '../../src/stores/files/index.ts';

// A process that the tests start, and kill: it applies numbered batches to a sink of files, from the
// checkpoint that is stored there to the last batch. What a key holds follows from the batch alone.
// Arguments: the directory, the worker's epoch, the number of batches.

const [dir = '', workerEpoch = '', batches = ''] = process.argv.slice(2);
const KEYS = 40;

const context = { name: 'crash', clock: systemClock, random: systemRandom };
const store = await files({ dir }).open(context);
const session = await store.sink.open({
  flow: 'crash',
  generation: 1,
  targets: [{ target: 'items', key: ['id'] }],
  workerEpoch: Number(workerEpoch),
});
armFromEnvironment(process.env);
const from = (await session.checkpoint())?.log ?? 0;
for (let batch = from; batch < Number(batches); batch++) {
  await session.apply({
    writes: writesOf(batch),
    state: [],
    checkpoint: {
      log: batch + 1,
      last: { epoch: 1, offset: batch, ordinal: KEYS },
      through: { epoch: 1, offset: batch },
      backfill: undefined,
    },
  });
}
await store.close();

/** Every batch writes half of the keys, and deletes a fifth of those it writes. */
function writesOf(batch: number): readonly Write[] {
  return Array.from({ length: KEYS / 2 }, (_, index) => {
    const id = (index * 2 + (batch % 2)) % KEYS;
    const body = `key ${id} of batch ${batch}`;
    const row = (id + batch) % 5 === 0 ? null : { body };
    const write = { target: 'items', key: [id], row, mode: 'stream' } as const;
    return { ...write, epoch: 1, offset: batch, ordinal: index };
  });
}
