import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { documents, opensearch, type OpenSearchStore } from '../../src/stores/opensearch/index.ts';
import { applyForEver, numberedBatches, target, type NumberedBatches } from './numbered-batches.ts';

/** More than one request takes, so that a batch can be cut off in its middle. */
export const batches: NumberedBatches = numberedBatches(1_200);

/** Opens the store that batches are applied to. */
export function openStore(url: string, prefix: string): Promise<OpenSearchStore> {
  const targets = { [target]: documents({ fields: { id: 'long', batch: 'long' } }) };
  return opensearch({ url, prefix, targets }).open({
    name: 'target',
    clock: systemClock,
    random: systemRandom,
  });
}

// `node opensearch-applier.ts URL PREFIX EPOCH` goes on from the checkpoint with numbered batches until it is killed, and
// writes the number of each batch that was acknowledged.
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
