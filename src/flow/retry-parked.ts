import type { Change } from '../core/change.ts';
import { decodeValue } from '../core/codec.ts';
import { compareIdentities, ORDINAL_MAX } from '../core/position.ts';
import type { Write } from '../core/write.ts';
import type { LogRecord } from '../ports/log.ts';
import type { Checkpoint } from '../ports/sink.ts';
import { foldChange } from './batch.ts';
import type { Put } from './definition.ts';
import { BatchState } from './fold-state.ts';
import type { Generation } from './generation.ts';
import { targetUnit, unitName, type ParkedChange } from './parked.ts';
import { projectRow, stamped } from './project.ts';
import { changeOf } from './record.ts';

/**
 * Applies parked changes again, each unit in the order they happened, with the projection as it is now;
 * returns those that are in. A unit stops at its first change that still cannot be applied: what queues
 * behind it stays behind it. Applying one twice is harmless: a row is refused as older, and a fold
 * remembers the change in the same atomic unit.
 */
export async function retryParked(
  generation: Generation,
  changes: readonly ParkedChange[],
  signal: AbortSignal,
): Promise<readonly ParkedChange[]> {
  const { checkpoint, parts } = generation;
  if (checkpoint === undefined) return [];
  const { last } = checkpoint;
  // A fold takes changes in their order, each once. Otherwise: 1. a poisoned change of 15 is parked  2. crash,
  // before the batch with it is applied  3. its projection is mended, it is retried and forgotten  4. the stream
  // comes to 15, where nothing is parked any more, and folds it in again.
  if (parts.definition.projection.kind === 'fold')
    changes = changes.filter(
      (change) => last !== undefined && compareIdentities(change, last) <= 0,
    );
  // Rows that a target refused come first, and are forgotten before anything is folded in. Otherwise: 1. a
  // group is refused as it was at 13  2. a poisoned row of 13 is folded in, the group is written with it
  // 3. the refused row of the same stamp, without it, is written over that, now or after a crash.
  const [rows, sources] = [
    changes.filter(isOfTarget),
    changes.filter((change) => !isOfTarget(change)),
  ];
  const written = await inOrder(generation, rows, checkpoint, signal);
  await generation.parked.forget(written);
  return [...written, ...(await inOrder(generation, sources, checkpoint, signal))];
}

function isOfTarget({ unit }: ParkedChange): boolean {
  return unit.by === 'target';
}

async function inOrder(
  generation: Generation,
  changes: readonly ParkedChange[],
  checkpoint: Checkpoint,
  signal: AbortSignal,
): Promise<readonly ParkedChange[]> {
  const done: ParkedChange[] = [];
  const stuck = new Set<string>();
  for (const change of changes) {
    signal.throwIfAborted();
    const unit = unitName(change.unit);
    if (stuck.has(unit)) continue;
    if (await applied(generation, change, checkpoint)) done.push(change);
    else stuck.add(unit);
  }
  return done;
}

async function applied(
  generation: Generation,
  parked: ParkedChange,
  checkpoint: Checkpoint,
): Promise<boolean> {
  const { definition, lane } = generation.parts;
  const record: LogRecord = {
    kind: 'change',
    epoch: parked.epoch,
    offset: parked.offset,
    ordinal: parked.ordinal,
    payload: parked.payload,
  };
  const state =
    definition.projection.kind === 'fold' ? new BatchState(generation.session) : undefined;
  let puts: readonly Put[];
  try {
    puts = await putsOf(generation, parked, changeOf(record, lane), state);
    // A group whose row the target still refuses: this change queues behind it.
    if (
      state !== undefined &&
      !isOfTarget(parked) &&
      puts.some((item) => generation.parked.has(unitName(targetUnit(item))))
    )
      return false;
    state?.keep();
  } catch {
    // Still poisoned: it stays parked with the error it was parked with.
    state?.check();
    return false;
  }
  const report = await generation.session.apply({
    writes: puts.map((item) => stampedAgain(item, parked, generation)),
    state: state?.writes() ?? [],
    checkpoint,
  });
  return report.failed.length === 0;
}

/**
 * A write of parked work with the fence that lets it through.
 *
 * What a fold returns holds all that the fold has taken in, so it is as new as the checkpoint. Otherwise:
 * 1. a change of a group is parked at 5  2. another change of it is applied at 7  3. the parked one is
 * folded in, its row carries 5 and is refused: the state has it, the target never.
 *
 * A row that a snapshot read was parked with the stamp that the sweep of the same snapshot gave to the
 * tombstones of what it did not find in the target, this row among them: it overwrites that one.
 */
function stampedAgain(item: Put, parked: ParkedChange, generation: Generation): Write {
  const { definition } = generation.parts;
  const folded = definition.projection.kind === 'fold' && parked.unit.by === 'source';
  const last = generation.checkpoint?.last;
  if (folded && last !== undefined) return stamped(item, last, 'repair');
  return stamped(item, parked, parked.ordinal === ORDINAL_MAX ? 'repair' : 'stream');
}

async function putsOf(
  generation: Generation,
  parked: ParkedChange,
  change: Change,
  state: BatchState | undefined,
): Promise<readonly Put[]> {
  const { definition } = generation.parts;
  if (definition.projection.kind === 'rows') {
    const puts = projectRow(
      definition.projection.project,
      change,
      definition.into,
      definition.deletes,
    );
    return parked.unit.by === 'source'
      ? puts
      : puts.filter((item) => unitName(targetUnit(item)) === unitName(parked.unit));
  }
  // A fold's row that the target refused: the fold itself has been done, only its row is missing.
  if (parked.put !== undefined) return [decodeValue(parked.put) as unknown as Put];
  // With the unit: all rows of a snapshot share one identity, and each is to be folded in.
  const identity = `${parked.epoch}.${parked.offset}.${parked.ordinal} ${unitName(parked.unit)}`;
  if (state === undefined || (await state.wasFolded(identity))) return [];
  const puts = await foldChange(definition, change, state);
  state.markFolded(identity);
  return puts;
}
