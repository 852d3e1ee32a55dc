import { TallyError } from '../core/errors.ts';
import type { FlowDefinition } from './definition.ts';
import type { Generation } from './generation.ts';

/**
 * What a flow brings from where to where, as a text that is kept with what it has brought: a checkpoint says
 * how far the flow has come, and nothing about a table or a target that it did not have then.
 */
export function planOf(lane: string, { tables, into }: FlowDefinition): string {
  return JSON.stringify([lane, tables.toSorted(), into.toSorted()]);
}

/**
 * Takes back what a barrier may believe if the flow brought something else until now: nothing of a table that
 * it did not read is in. Throws CONFIG_INVALID if it read another lane: the fences of two lanes cannot be
 * compared, and the rows of the old one would win over those of the new one, or lose, by chance.
 */
export async function checkPlan(generation: Generation): Promise<void> {
  const { checkpoint, parts } = generation;
  const { name, lane, definition } = parts;
  const plan = checkpoint?.backfill?.plan;
  if (checkpoint === undefined || plan === undefined || plan === planOf(lane, definition)) return;
  const [before] = JSON.parse(plan) as [string];
  if (before !== lane)
    throw new TallyError('CONFIG_INVALID', {
      what: `its targets hold what it brought from ${before}, and now it reads ${lane}`,
      where: `flow ${name}`,
      mend: `give the flow another name and targets of another name, or let it read ${before} again`,
      details: { flow: name, before, now: lane },
    });
  if (checkpoint.through !== undefined)
    await generation.moveCheckpoint({ ...checkpoint, through: undefined });
}
