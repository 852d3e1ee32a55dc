import { encodeKey } from '../core/codec.ts';
import { TallyError, unreachable } from '../core/errors.ts';
import {
  coversEvidence,
  mergeEvidence,
  noEvidence,
  type Evidence,
  type Relation,
} from '../core/evidence.ts';
import { checkDuration } from '../core/options.ts';
import type { Key } from '../core/row.ts';
import { barrier, type Behind, type Freshness } from '../flow/barrier.ts';
import { relationOf } from '../flow/epochs.ts';
import { unitName } from '../flow/parked.ts';
import type { ProgressBoard } from '../flow/progress.ts';
import type { Clock } from '../ports/clock.ts';
import type { Replica } from '../ports/replica.ts';
import type { Store } from '../ports/store.ts';
import { currentEvidence } from '../runtime/context.ts';
import type { TallyApp } from './definition.ts';
import { laneHead, type Lane } from './lanes.ts';
import type { RemoteProgress } from './remote-progress.ts';

/** A duration: milliseconds, or text such as `'200ms'`, `'5s'`. */
export type Duration = number | string;

/** How fresh a store must be, and how long to wait until it is. */
export interface FreshnessOptions {
  /** At least this evidence. Default: the evidence of the present context (of this request, say). */
  readonly after?: Evidence;
  /** Instead: at most this far behind the newest commit of the source. */
  readonly maxStale?: Duration;
  /** How long to wait for it. Default `'1s'`; 0 looks once. */
  readonly within?: Duration;
  /** The source rows that the read is about: parked work of others does not block it. */
  readonly keys?: readonly { readonly table: string; readonly key: Key }[];
  readonly signal?: AbortSignal;
}

const WITHIN_DEFAULT: Duration = '1s';

export interface FreshnessParts {
  readonly app: TallyApp;
  readonly stores: Readonly<Record<string, Store>>;
  readonly lanes: ReadonlyMap<string, Lane>;
  readonly board: ProgressBoard;
  readonly clock: Clock;
  /** For the flows that another process runs. */
  readonly remote: RemoteProgress;
}

/** Waits until a store is as fresh as asked, within the limit. */
export async function freshnessOf(
  store: string,
  options: FreshnessOptions,
  parts: FreshnessParts,
  passed: readonly string[] = [],
): Promise<Freshness> {
  const withinMs = checkDuration(options.within ?? WITHIN_DEFAULT, 'read.within');
  const replica = parts.stores[store]?.replica;
  if (replica !== undefined)
    return replicaFreshness(store, replica, { ...options, withinMs }, parts);
  const startedAtMs = parts.clock.monotonicMs();
  const flows = Object.entries(parts.app.flows)
    .filter(([, flow]) => flow.to === store)
    .map(([name, flow]) => ({ name, lane: flow.from }));
  await parts.remote.refresh(flows.map(({ name }) => name));
  if (
    options.maxStale !== undefined &&
    isWithin(checkDuration(options.maxStale, 'read.maxStale'), flows, parts)
  )
    return { kind: 'fresh' };
  const asked =
    options.maxStale === undefined
      ? (options.after ?? currentEvidence())
      : await heads(flows, parts.lanes);
  // The owner of a lane has its own writes.
  const own = new Map([...asked].filter(([lane]) => lane !== store));
  const through = await throughOthers(own, { ...options, within: withinMs }, parts, [
    ...passed,
    store,
  ]);
  if (through.kind !== 'fresh') return through;
  const { after } = through;
  const units = options.keys?.map(({ table, key }) =>
    unitName({ by: 'source', table, key: encodeKey(key) }),
  );
  const polling = parts.remote.poll(flows.map(({ name }) => name));
  const freshness = await barrier({
    after,
    flows,
    board: parts.board,
    clock: parts.clock,
    withinMs: Math.max(0, withinMs - (parts.clock.monotonicMs() - startedAtMs)),
    relation: relationIn(parts.lanes),
    ...(units === undefined ? {} : { units }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  polling[Symbol.dispose]();
  return freshness;
}

function relationIn(lanes: ReadonlyMap<string, Lane>): Relation {
  return (lane, epoch) => relationOf(lanes.get(lane)?.epoch.forks)(epoch);
}

/**
 * Waits until a read replica shows what its primary had committed. It is asked for a place in the present
 * history only: evidence of an earlier one counts if that place is part of the present one.
 */
async function replicaFreshness(
  store: string,
  replica: Replica,
  options: FreshnessOptions & { readonly withinMs: number },
  { lanes, clock }: FreshnessParts,
): Promise<Freshness> {
  const lane = lanes.get(replica.of);
  const asked =
    options.maxStale === undefined
      ? (options.after ?? currentEvidence())
      : await heads([{ lane: replica.of }], lanes);
  const others = [...asked.keys()].filter((name) => name !== replica.of);
  if (others.length > 0) return { kind: 'unsupported', lanes: others };
  const needs = asked.get(replica.of) ?? [];
  if (lane === undefined || needs.length === 0) return { kind: 'fresh' };
  const { epoch, history } = lane.epoch;
  const offset = Math.max(...needs.map((need) => need.offset));
  const behind = (seen: number | undefined): readonly Behind[] =>
    needs.map((need) => ({
      flow: store,
      lane: replica.of,
      need,
      seen: seen === undefined ? undefined : { epoch, offset: seen },
      offsets: seen === undefined ? undefined : offset - seen,
    }));
  const reached: Evidence = new Map([[replica.of, [{ epoch, offset }]]]);
  const relation = relationIn(lanes);
  if (
    epoch === 0 ||
    coversEvidence(reached, new Map([[replica.of, needs]]), relation) !== 'covered'
  )
    return { kind: 'incomparable', by: behind(undefined) };
  const startedAtMs = clock.monotonicMs();
  const { withinMs, signal } = options;
  const answer = await replica.reached(history, offset, {
    withinMs,
    ...(signal === undefined ? {} : { signal }),
  });
  if (answer.kind === 'fresh') return answer;
  if (answer.kind === 'incomparable') return { kind: 'incomparable', by: behind(undefined) };
  return withinMs <= 0
    ? { kind: 'stale', by: behind(answer.seen) }
    : {
        kind: 'timeout',
        seen: behind(answer.seen),
        waitedMs: clock.monotonicMs() - startedAtMs,
      };
}

type Through =
  | { readonly kind: 'fresh'; readonly after: Evidence }
  | Exclude<Freshness, { readonly kind: 'fresh' }>;

/**
 * Evidence of a lane that no flow brings to the store, but that comes by way of another store: waits until that
 * one has it, and then asks for all that has been committed there. A lane from which nothing comes is left to
 * the barrier.
 */
async function throughOthers(
  asked: Evidence,
  options: FreshnessOptions & { readonly within: number },
  parts: FreshnessParts,
  path: readonly string[],
): Promise<Through> {
  const store = path.at(-1) ?? '';
  const between = sourcesOf(parts.app, store).filter((name) => !path.includes(name));
  const direct = new Set(sourcesOf(parts.app, store));
  let after = new Map(
    [...asked].filter(([lane]) => direct.has(lane) || !reaches(parts.app, lane, store)),
  );
  const startedAtMs = parts.clock.monotonicMs();
  for (const name of between) {
    const lane = parts.lanes.get(name);
    const by = [...asked].filter(
      ([from]) => !direct.has(from) && reaches(parts.app, from, name, path),
    );
    if (lane === undefined || by.length === 0) continue;
    const within = Math.max(0, options.within - (parts.clock.monotonicMs() - startedAtMs));
    const hop = await freshnessOf(name, { ...options, after: new Map(by), within }, parts, path);
    if (hop.kind !== 'fresh') return hop;
    after = new Map(mergeEvidence(after, await laneHead(lane)));
  }
  return { kind: 'fresh', after };
}

/** The stores that flow straight into one. */
function sourcesOf(app: TallyApp, store: string): readonly string[] {
  return [
    ...new Set(Object.values(app.flows).flatMap((flow) => (flow.to === store ? [flow.from] : []))),
  ];
}

/** Whether a lane's changes come to a store, straight or by way of others (but not of those `without`). */
function reaches(
  app: TallyApp,
  lane: string,
  store: string,
  without: readonly string[] = [],
): boolean {
  return sourcesOf(app, store).some(
    (from) =>
      from === lane || (!without.includes(from) && reaches(app, lane, from, [...without, store])),
  );
}

/**
 * Whether each flow's last applied commit is no older than the bound. An upper bound of the staleness: the
 * data was current until the commit *after* that one.
 */
function isWithin(
  maxStaleMs: number,
  flows: readonly { readonly name: string }[],
  parts: FreshnessParts,
): boolean {
  const nowMs = parts.clock.nowMs();
  return flows.every(({ name }) => {
    const atMs = parts.board.get(name)?.throughAtMs;
    return atMs !== undefined && nowMs - atMs <= maxStaleMs;
  });
}

/** The newest commit of each lane that flows into a store. */
async function heads(
  flows: readonly { readonly lane: string }[],
  lanes: ReadonlyMap<string, Lane>,
): Promise<Evidence> {
  const names = new Set(flows.map(({ lane }) => lane));
  const evidence = await Promise.all(
    [...names].map(async (name) => {
      const lane = lanes.get(name);
      return lane === undefined ? noEvidence : laneHead(lane);
    }),
  );
  return mergeEvidence(...evidence);
}

/** The error for a store that is not as fresh as asked, when the caller said to fail. */
export function freshnessError(
  store: string,
  freshness: Exclude<Freshness, { kind: 'fresh' }>,
): TallyError {
  const details = { store, freshness };
  switch (freshness.kind) {
    case 'stale':
    case 'timeout':
      return new TallyError('BARRIER_TIMEOUT', {
        what: `the evidence was not reached${freshness.kind === 'timeout' ? ` within ${Math.round(freshness.waitedMs)} ms` : ''}`,
        where: `store ${store}: ${behindText(freshness)}`,
        mend: 'allow more time, read it stale, or read the source; tally status shows which flow lags',
        details,
      });
    case 'blocked':
      return new TallyError('BARRIER_BLOCKED', {
        what: `what was asked for includes parked work: ${freshness.parked.slice(0, 3).join('; ')}`,
        where: `store ${store}`,
        mend: 'see tally parked; name the keys of the read if it is about others',
        details,
      });
    case 'incomparable':
      return new TallyError('BARRIER_INCOMPARABLE', {
        what: 'the evidence is of another history than the one that is captured now',
        where: `store ${store}`,
        mend: 'drop the evidence and read again; after a restore, run tally resnapshot',
        details,
      });
    case 'unsupported':
      return new TallyError('CAPABILITY_MISSING', {
        what: `no flow carries ${freshness.lanes.join(', ')} to this store`,
        where: `store ${store}`,
        mend: 'declare the flow, or read without that evidence',
        details,
      });
    default:
      return unreachable(freshness);
  }
}

function behindText(freshness: Extract<Freshness, { kind: 'stale' | 'timeout' }>): string {
  const behind = freshness.kind === 'stale' ? freshness.by : freshness.seen;
  return behind
    .map(
      ({ flow, need, seen }) =>
        `flow ${flow} has seen ${seen === undefined ? 'nothing' : `${seen.epoch}.${seen.offset}`} of ${need.epoch}.${need.offset}`,
    )
    .join('; ');
}
