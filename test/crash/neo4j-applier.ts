import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { neo4j, node, type NeoStore } from '../../src/stores/neo4j/index.ts';
import { applyForEver, numberedBatches, target, type NumberedBatches } from './numbered-batches.ts';

/** More than one statement takes. */
export const batches: NumberedBatches = numberedBatches(700);

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
  await applyForEver(session, batches.batchOf);
}
