import { point } from '../observe/point.ts';
import type { Epoch } from './epochs.ts';
import type { Generation } from './generation.ts';
import { planOf } from './plan.ts';

/**
 * Begins with a target that holds answers which can be had again: they are all dropped, and the stream goes on from where
 * the log stood before. In this order. Otherwise: 1. everything is dropped  2. somebody loads a row  3. the row is changed,
 * and the change is logged  4. the end of the log is read: the change is before it, and never told.
 */
export async function empty(generation: Generation, { epoch, history }: Epoch): Promise<void> {
  const { parts, parked } = generation;
  const { source, log, lane, definition, observer } = parts;
  observer.state('backfilling');
  const { next } = await log.extent();
  const head = (await source.headInHistory?.()) ?? {
    offset: await source.head(),
    history: await source.history(),
  };
  const at = { epoch, offset: head.offset };
  await parked.forget(await parked.list());
  await generation.reset();
  point('flow.after-snapshot-before-stream');
  await generation.moveCheckpoint({
    log: next,
    // Of the changes up to the head those that are not in the log yet are told all the same, which costs a load.
    last: { epoch, offset: 0, ordinal: 0 },
    // What is loaded from now on contains all that was committed before, if it is of this history.
    through: head.history === undefined || head.history === history ? at : undefined,
    backfill: {
      state: 'done',
      tables: {},
      epoch,
      atMin: at.offset,
      atMax: at.offset,
      plan: planOf(lane, definition),
    },
  });
}
