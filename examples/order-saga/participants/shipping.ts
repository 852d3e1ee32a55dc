import { objectEffects, probed, resultOf, settled } from 'tallystick/effects';
import type { FilesStore } from 'tallystick/files';
import type { Participant } from '../order.ts';

/** Labels as objects: a conditional put makes one, and its metadata say whose it is. */
export function shipping({ objects }: FilesStore): Participant {
  const effects = objectEffects(objects, { clock: { nowMs: Date.now } });
  const labelOf = (id: string): string => `labels/${id}.txt`;
  return {
    do: async (key, { id, customer, sku, count }) =>
      resultOf(
        await effects.do(key, {
          object: labelOf(id),
          body: Buffer.from(`To ${customer}: ${count} × ${sku}\n`),
          result: { label: labelOf(id) },
        }),
      ),
    undo: async (key, { id }) => settled(await effects.undo(key, { object: labelOf(id) })),
    probe: async (key, { id }) => probed(await effects.probe(key, labelOf(id))),
  };
}
