import { writeSync } from 'node:fs';
import type { Row } from '../../src/core/row.ts';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import type { SinkBatch } from '../../src/ports/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { neo4j, node, type NeoStore } from '../../src/stores/neo4j/index.ts';

/** More than one statement takes. */
const KEYS = 700;
const CYCLE = 7;

/** What every batch writes to. */
export const target = 'numbers';

/** What each key holds after batches 0 to `count - 1`; undefined where it was deleted. */
export function expected(count: number, key: number): Row | undefined {
  const batch = count - 1;
  return batch < 0 || (batch + key) % CYCLE === 0 ? undefined : { id: key, batch };
}

/** The numbers of all keys. */
export const keys: readonly number[] = Array.from({ length: KEYS }, (_, key) => key);

/** The batch of this number: it changes or deletes every key. */
export function batchOf(batch: number): SinkBatch {
  const at = { epoch: 8, offset: batch + 1 };
  return {
    writes: keys.map((key, ordinal) => ({
      ...at,
      ordinal,
      target,
      key: [key],
      row: expected(batch + 1, key) ?? null,
      mode: 'stream',
    })),
    state: [],
    checkpoint: {
      log: batch + 1,
      last: { ...at, ordinal: KEYS },
      through: at,
      backfill: undefined,
    },
  };
}

/** Opens the store that batches are applied to. */
export function openStore(url: string, prefix: string): Promise<NeoStore> {
  const targets = { [target]: node({ label: `${prefix}${target}` }) };
  return neo4j({ url, prefix, targets }).open({
    name: 'target',
    clock: systemClock,
    random: systemRandom,
  });
}

// `node neo4j-applier.ts URL PREFIX EPOCH` goes on from the checkpoint with numbered batches until it is killed, and writes
// the number of each batch that was acknowledged.
if (import.meta.main) {
  const [, , url = '', prefix = '', epoch = '1'] = process.argv;
  const store = await openStore(url, prefix);
  const session = await store.sink.open({
    flow: 'numbers',
    generation: 1,
    targets: [{ target }],
    workerEpoch: Number(epoch),
  });
  let next = (await session.checkpoint())?.log ?? 0;
  armFromEnvironment(process.env);
  for (;;) {
    // Every batch comes twice, as after a lost answer: the second time it has no effect.
    for (let time = 0; time < 2; time++) await session.apply(batchOf(next));
    next += 1;
    writeSync(1, `${next}\n`);
  }
}
