import { coversEvidence, type Coverage, type Evidence, type Relation } from '../core/evidence.ts';
import type { Position } from '../core/position.ts';
import type { Clock } from '../ports/clock.ts';
import { progressEvidence, type FlowProgress, type ProgressBoard } from './progress.ts';

/** How far a flow is behind what was asked for. `offsets` counts in the unit of the lane. */
export interface Behind {
  readonly flow: string;
  readonly lane: string;
  readonly need: Position;
  readonly seen: Position | undefined;
  /** undefined while nothing of the epoch was seen. */
  readonly offsets: number | undefined;
}

/** What waiting for evidence came to. The caller says beforehand what to do for each. */
export type Freshness =
  /** Everything asked for is applied in full. */
  | { readonly kind: 'fresh' }
  /** It was not asked to wait, or gave up at once: this far behind. */
  | { readonly kind: 'stale'; readonly by: readonly Behind[] }
  /** The limit passed; this is what was seen. */
  | { readonly kind: 'timeout'; readonly seen: readonly Behind[]; readonly waitedMs: number }
  /** The evidence is of a history that the target's is not related to (a restore, a new epoch). */
  | { readonly kind: 'incomparable'; readonly by: readonly Behind[] }
  /** What was asked for includes parked work, which will not come by waiting. */
  | { readonly kind: 'blocked'; readonly parked: readonly string[] }
  /** No flow carries this lane to this store. */
  | { readonly kind: 'unsupported'; readonly lanes: readonly string[] };

/** A flow as a barrier sees it: what it carries, and where its progress is read. */
export interface BarrierFlow {
  readonly name: string;
  readonly lane: string;
}

export interface BarrierOptions {
  readonly after: Evidence;
  readonly flows: readonly BarrierFlow[];
  readonly board: ProgressBoard;
  readonly clock: Clock;
  /** How long to wait, in milliseconds; 0 looks once. */
  readonly withinMs: number;
  /** How the epochs of a lane are related; not given: not at all. */
  readonly relation?: Relation;
  /** Names of parked units that matter; undefined: any parked work of the flows does. */
  readonly units?: readonly string[];
  readonly signal?: AbortSignal;
}

/**
 * Waits until every flow has applied what the evidence says, within the limit. No polling: it is woken
 * by the publication that reaches it. Never answers `fresh` for an epoch that it cannot compare.
 */
export async function barrier(options: BarrierOptions): Promise<Freshness> {
  const { flows, board, clock, withinMs } = options;
  const needs = needsOf(options.after, flows);
  if (needs.length === 0) return unsupported(options.after);
  let looked = look(needs, options);
  if (looked.kind !== 'stale') return looked;
  if (withinMs <= 0) return looked;
  const startedAtMs = clock.monotonicMs();
  using timer = timeLimit(clock, withinMs, options.signal);
  for (;;) {
    const [first] = looked.by;
    if (first === undefined) return { kind: 'fresh' };
    const waiter = board.changed(first.flow, first.need);
    if (waiter === undefined) return looked;
    const woken = await Promise.race([waiter.woken.then(() => true), timer.over]);
    waiter.cancel();
    const again = look(needs, options);
    if (again.kind !== 'stale') return again;
    if (!woken)
      return { kind: 'timeout', seen: again.by, waitedMs: clock.monotonicMs() - startedAtMs };
    looked = again;
  }
}

interface Need {
  readonly flow: string;
  readonly lane: string;
  readonly position: Position;
}

function needsOf(after: Evidence, flows: readonly BarrierFlow[]): readonly Need[] {
  const needs: Need[] = [];
  for (const { name, lane } of flows)
    for (const position of after.get(lane) ?? []) needs.push({ flow: name, lane, position });
  return needs;
}

/** Evidence of no lane at all asks for nothing; evidence of lanes that no flow brings here cannot be waited for. */
function unsupported(after: Evidence): Freshness {
  return after.size === 0 ? { kind: 'fresh' } : { kind: 'unsupported', lanes: [...after.keys()] };
}

/** One look at the board. Pure but for reading it. */
function look(
  needs: readonly Need[],
  { board, units, relation }: BarrierOptions,
): Exclude<Freshness, { kind: 'timeout' | 'unsupported' }> {
  const behind: Behind[] = [];
  const incomparable: Behind[] = [];
  const parked: string[] = [];
  for (const { flow, lane, position } of needs) {
    const progress = board.get(flow);
    const verdict = verdictOf(progress, lane, position, relation);
    const entry = (): Behind => behindOf(flow, lane, position, progress?.through);
    if (verdict === 'behind') behind.push(entry());
    if (verdict === 'incomparable') incomparable.push(entry());
    parked.push(
      ...(progress?.parkedUnits ?? []).filter(
        (unit) => units === undefined || units.includes(unit),
      ),
    );
  }
  if (incomparable.length > 0) return { kind: 'incomparable', by: incomparable };
  if (parked.length > 0) return { kind: 'blocked', parked: [...new Set(parked)] };
  return behind.length > 0 ? { kind: 'stale', by: behind } : { kind: 'fresh' };
}

function verdictOf(
  progress: FlowProgress | undefined,
  lane: string,
  need: Position,
  relation: Relation | undefined,
): Coverage {
  if (progress === undefined) return 'behind';
  // Epochs only grow, and a flow is carried into the newest by a resnapshot: evidence of a later epoch than
  // the flow has seen can still come, which is worth the caller's limit. Of an earlier one it never will.
  if (progress.through !== undefined && progress.through.epoch < need.epoch) return 'behind';
  return coversEvidence(progressEvidence(progress), new Map([[lane, [need]]]), relation);
}

function behindOf(flow: string, lane: string, need: Position, seen: Position | undefined): Behind {
  const offsets = seen?.epoch === need.epoch ? need.offset - seen.offset : undefined;
  return { flow, lane, need, seen, offsets };
}

function timeLimit(
  clock: Clock,
  withinMs: number,
  signal: AbortSignal | undefined,
): Disposable & { readonly over: Promise<false> } {
  const { promise, resolve } = Promise.withResolvers<false>();
  const end = (): void => resolve(false);
  const cancel = clock.after(withinMs, end);
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted === true) end();
  return {
    over: promise,
    [Symbol.dispose]() {
      cancel();
      signal?.removeEventListener('abort', end);
    },
  };
}
