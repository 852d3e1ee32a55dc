import type { Change } from '../core/change.ts';
import { encodeKey, encodeValue } from '../core/codec.ts';
import { TallyError } from '../core/errors.ts';
import { ORDINAL_MAX, type Position } from '../core/position.ts';
import type { Key } from '../core/row.ts';
import type { Write } from '../core/write.ts';
import { point } from '../observe/point.ts';
import type { LogRecord } from '../ports/log.ts';
import type { BackfillProgress, Checkpoint } from '../ports/sink.ts';
import type { SnapshotChunk } from '../ports/source.ts';
import { foldChange } from './batch.ts';
import type { Put } from './definition.ts';
import { capturedUpTo, type Epoch } from './epochs.ts';
import { BatchState } from './fold-state.ts';
import { batchBounds, type Generation } from './generation.ts';
import { parkedChange, targetUnit, unitName, type ParkedChange } from './parked.ts';
import { planOf } from './plan.ts';
import { projectRow, stamped, writeName } from './project.ts';

/**
 * Rows after which everybody else has a turn. What is streamed meanwhile takes several turns on its way from the
 * source to its target, and would wait for a whole chunk at each.
 */
const TURN_ROWS = 200;

/**
 * Whether a generation has rows of the source still to read before its stream means anything: at first, in a
 * new epoch, when the flow reads other tables or fills other targets than it did, and when it was away for
 * longer than the log reaches back to (`logFirst`).
 */
export function needsBackfill(
  { checkpoint, parts }: Pick<Generation, 'checkpoint' | 'parts'>,
  { epoch, forks }: Epoch,
  logFirst: number,
): boolean {
  if (checkpoint?.backfill === undefined || checkpoint.log < logFirst) return true;
  const { state, epoch: before, plan, atMax } = checkpoint.backfill;
  // Rows that were stamped in the older epoch, and past what was captured under it, would lose to changes of the
  // newer one that are older than they are.
  const captured = before > epoch ? Infinity : capturedUpTo(forks, epoch, before);
  const isOfThisHistory = captured !== undefined && atMax <= captured;
  return state === 'running' || !isOfThisHistory || plan !== planOf(parts.lane, parts.definition);
}

/**
 * Brings the rows that the source already has to the target, in bounded chunks, each stamped with the
 * exact position of the snapshot session that read it, so that it loses to any newer change and needs
 * no lock, no window and no write to the source. Afterwards the stream goes on from where the log stood
 * before the first row was read.
 *
 * An interrupted backfill of rows resumes with a new session: the remaining ranges carry a later stamp.
 * A folded projection counts each row once, at one position, so it starts over instead.
 *
 * At the end, rows of the targets that the snapshot did not see are swept: they were deleted in a gap
 * that the log does not cover, and would live for ever. If there were several sessions, that waits until
 * the stream has passed the last.
 */
export async function backfill(
  generation: Generation,
  epoch: number,
  signal: AbortSignal,
): Promise<void> {
  const { parts } = generation;
  const { first } = await parts.log.extent();
  const folding = parts.definition.projection.kind === 'fold';
  parts.observer.state('backfilling');
  let progress = folding ? undefined : resumable(generation, epoch, first);
  if (progress === undefined) await begin(generation, folding);
  // Read before the first row: every change after the snapshot's position is at or after this log offset.
  const log =
    progress === undefined ? (await parts.log.extent()).next : (generation.checkpoint?.log ?? 0);
  const chunks = parts.source.snapshot({
    tables: parts.definition.tables,
    ...(progress === undefined ? {} : { resume: progress.tables }),
    // One chunk is one batch for the target.
    ...batchBounds(parts),
    signal,
  });
  let done = 0;
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    progress = after(progress, chunk, epoch, planOf(parts.lane, parts.definition));
    await applyChunk(
      generation,
      chunk,
      { log, last: undefined, through: undefined, backfill: progress },
      signal,
    );
    point('flow.after-snapshot-chunk');
    // A source and a target that never wait would keep timers and requests waiting to the last row.
    await parts.clock.sleep(0);
    done += chunk.rows.length;
  }
  signal.throwIfAborted();
  await finish(generation, log, progress, done);
}

/**
 * Forgets what is parked: it is older than every row that will be read now. Before that, what a barrier may
 * believe. Otherwise: 1. the parked work of a row is forgotten  2. a barrier, here or elsewhere, sees nothing
 * parked and a checkpoint that has passed the row: it says fresh, and the row is not there.
 */
async function begin(generation: Generation, folding: boolean): Promise<void> {
  const { checkpoint, parts } = generation;
  if (checkpoint !== undefined) {
    const unbelieved = { ...checkpoint, through: undefined };
    if (folding || generation.parked.size > 0)
      parts.observer.progress(unbelieved, generation.parked.units(), undefined);
    if (folding) await generation.reset();
    else if (generation.parked.size > 0) await generation.moveCheckpoint(unbelieved);
  }
  await generation.parked.forget(await generation.parked.list());
}

function resumable(
  { checkpoint, parts }: Generation,
  epoch: number,
  logFirst: number,
): BackfillProgress | undefined {
  const progress = checkpoint?.backfill;
  if (progress?.state !== 'running' || progress.epoch !== epoch) return undefined;
  const samePlan = progress.plan === planOf(parts.lane, parts.definition);
  return samePlan && checkpoint !== undefined && checkpoint.log >= logFirst ? progress : undefined;
}

function after(
  progress: BackfillProgress | undefined,
  chunk: SnapshotChunk,
  epoch: number,
  plan: string,
): BackfillProgress {
  const lastKey = chunk.rows.at(-1)?.key ?? progress?.tables[chunk.table];
  const place: Key | 'done' | undefined = chunk.tableDone ? 'done' : lastKey;
  return {
    state: 'running',
    epoch,
    tables: { ...progress?.tables, ...(place === undefined ? {} : { [chunk.table]: place }) },
    atMin: Math.min(progress?.atMin ?? chunk.at, chunk.at),
    atMax: Math.max(progress?.atMax ?? chunk.at, chunk.at),
    plan,
  };
}

async function applyChunk(
  generation: Generation,
  chunk: SnapshotChunk,
  checkpoint: Checkpoint,
  signal: AbortSignal,
): Promise<void> {
  const { parts } = generation;
  const at = { epoch: checkpoint.backfill?.epoch ?? 0, offset: chunk.at, ordinal: ORDINAL_MAX };
  const state =
    parts.definition.projection.kind === 'fold' ? new BatchState(generation.session) : undefined;
  const overwrites = state !== undefined || chunk.inOrder === true;
  const writes = new Map<string, { write: Write; origin: LogRecord }>();
  const parked: ParkedChange[] = [];
  for (const [index, { key, row }] of chunk.rows.entries()) {
    if (index % TURN_ROWS === TURN_ROWS - 1) await parts.clock.sleep(0);
    const change: Change = {
      ...at,
      lane: parts.lane,
      table: chunk.table,
      operation: 'read',
      key,
      before: null,
      after: row,
    };
    const origin = originOf(change);
    try {
      const puts = project(generation, change, state);
      for (const item of puts instanceof Promise ? await puts : puts) {
        // A fold's row takes the place of the one of the same snapshot that is parked already.
        if (state !== undefined && generation.parked.has(unitName(targetUnit(item)))) {
          parked.push(parkedChange(targetUnit(item), origin, parts.clock, undefined, item));
          continue;
        }
        writes.set(writeName(item.target, encodeKey(item.key)), {
          // All chunks carry one stamp, and a later one knows more of a fold's group, or is later in the history of
          // an event: it overwrites the earlier.
          write: stamped(item, at, overwrites ? 'repair' : 'snapshot'),
          origin,
        });
      }
      state?.keep();
    } catch (error) {
      state?.discard();
      state?.check();
      parked.push(
        parkedChange(
          { by: 'source', table: chunk.table, key: encodeKey(key) },
          origin,
          parts.clock,
          error,
        ),
      );
    }
  }
  await generation.parked.park(parked);
  const report = await generation.applyWrites(
    {
      writes: Array.from(writes.values(), ({ write }) => write),
      origins: Array.from(writes.values(), ({ origin }) => origin),
      state: state?.writes() ?? [],
      checkpoint,
    },
    signal,
  );
  parts.observer.parked(generation.parked.size);
  parts.observer.applied({
    applied: report.applied,
    older: report.older,
    changes: chunk.rows.length,
    committedAtMs: [],
  });
}

/** A fold may wait; for the others there is no promise for each row. */
function project(
  { parts: { definition } }: Generation,
  change: Change,
  state: BatchState | undefined,
): readonly Put[] | Promise<readonly Put[]> {
  const { projection, into, deletes } = definition;
  if (projection.kind === 'rows') return projectRow(projection.project, change, into, deletes);
  return state === undefined ? [] : foldChange(definition, change, state);
}

/** A snapshot row as a log record, so that a refused one is parked like any other; only that needs its text. */
function originOf({ epoch, offset, ordinal, table, key, after: row }: Change): LogRecord {
  return {
    kind: 'change',
    epoch,
    offset,
    ordinal,
    get payload() {
      return encodeValue({ t: table, o: 'c', k: key, b: null, a: row });
    },
  };
}

async function finish(
  generation: Generation,
  log: number,
  progress: BackfillProgress | undefined,
  rows: number,
): Promise<void> {
  if (progress === undefined)
    throw new TallyError('INTERNAL', {
      what: `a snapshot of ${rows} rows ended without saying where it was`,
    });
  const { epoch, atMin, atMax } = progress;
  const from: Position = { epoch, offset: atMin };
  // With one session everything up to its position is in, and nothing else is; with several, the stream must
  // first pass the last.
  const whole = atMin === atMax;
  if (whole) await generation.sweep(progress);
  point('flow.after-snapshot-before-stream');
  await generation.moveCheckpoint({
    log,
    last: { ...from, ordinal: ORDINAL_MAX },
    through: whole ? from : undefined,
    backfill: { ...progress, state: whole ? 'done' : 'unswept' },
  });
}
