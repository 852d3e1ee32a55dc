import { comparePositions, type Position } from '../../../core/position.ts';
import type {
  CacheAsk,
  CacheEntry,
  CacheValue,
  InvalidateOptions,
  LeaseAnswer,
  StoreOutcome,
} from '../../../ports/cache.ts';
import { TOMBSTONE_MS } from '../../../ports/cache.ts';

/** An entry without its payload, with the times of its life by the clock of the machine. */
interface EntryState {
  readonly note: string;
  readonly storedAtMs: number;
  readonly freshUntilMs: number;
  readonly keptUntilMs: number;
  readonly loadMs: number;
  readonly tags: readonly string[];
  /** The cache's sequence when its lease was granted. */
  readonly born: number;
  readonly fence?: Position;
}

interface LeaseState {
  readonly id: string;
  readonly holder: string;
  readonly born: number;
  readonly untilMs: number;
}

/** All that is known of a key, beside its payload; one row, changed in one transaction. */
export interface KeyState {
  readonly entry?: EntryState;
  readonly lease?: LeaseState;
  readonly barredUntilMs?: number;
  readonly failure?: { readonly reason: string; readonly untilMs: number };
  readonly tombstone?: { readonly fence: Position; readonly untilMs: number };
}

export interface KeyRecord {
  readonly state: KeyState;
  /** Of the entry. */
  readonly payload: string | Uint8Array | undefined;
}

/** What the decisions depend on besides the record. */
export interface Moment {
  readonly nowMs: number;
  /** How many invalidations of tags, or of everything, there have been. */
  readonly sequence: number;
  /** Whether what was born then is older than an invalidation of everything or of one of its tags. */
  readonly isInvalidated: (tags: readonly string[], born: number) => boolean;
  readonly isDead: (holder: string) => boolean;
}

const NO_LEASE: LeaseAnswer = { kind: 'none' };

/** The record without what is over. */
export function pruned({ state, payload }: KeyRecord, moment: Moment): KeyRecord {
  const { nowMs } = moment;
  const { entry, lease, barredUntilMs = 0, failure, tombstone } = state;
  const isThere =
    entry !== undefined &&
    entry.keptUntilMs > nowMs &&
    !moment.isInvalidated(entry.tags, entry.born);
  const stands =
    lease !== undefined &&
    lease.untilMs > nowMs &&
    !moment.isInvalidated([], lease.born) &&
    !moment.isDead(lease.holder);
  return {
    payload: isThere ? payload : undefined,
    state: {
      ...(isThere ? { entry } : {}),
      ...(stands ? { lease } : {}),
      ...(barredUntilMs > nowMs ? { barredUntilMs } : {}),
      ...(failure !== undefined && failure.untilMs > nowMs ? { failure } : {}),
      ...(tombstone !== undefined && tombstone.untilMs > nowMs ? { tombstone } : {}),
    },
  };
}

/** The entry of a pruned record as the port shows it. */
export function entryOf({ state, payload }: KeyRecord, nowMs: number): CacheEntry | undefined {
  const { entry } = state;
  if (entry === undefined || payload === undefined) return undefined;
  const { note, loadMs, tags, fence } = entry;
  const freshForMs = entry.freshUntilMs - nowMs;
  return { payload, note, freshForMs, ageMs: nowMs - entry.storedAtMs, loadMs, tags, fence };
}

/** What a pruned record says to a wish for its lease; `take`: it is free. */
export function leaseWish(record: KeyRecord, ask: CacheAsk, nowMs: number): LeaseAnswer | 'take' {
  if (ask.lease === 'none') return NO_LEASE;
  const { entry, lease, barredUntilMs, failure } = record.state;
  const freshForMs = entry === undefined ? 0 : entry.freshUntilMs - nowMs;
  const isFresh = freshForMs > 0;
  const isEarly = isFresh && freshForMs < ask.early * (entry?.loadMs ?? 0);
  if (isFresh && !isEarly && ask.lease === 'due') return NO_LEASE;
  // Nobody waits for the early refresh of somebody else.
  const isWaitedFor = !isFresh || ask.lease === 'always';
  if (barredUntilMs !== undefined) return isWaitedFor ? { kind: 'barred' } : NO_LEASE;
  if (lease !== undefined) return isWaitedFor ? { kind: 'held', lease: lease.id } : NO_LEASE;
  if (failure === undefined) return 'take';
  const { reason, untilMs } = failure;
  return isWaitedFor ? { kind: 'failed', reason, forMs: untilMs - nowMs } : NO_LEASE;
}

/** A pruned record with a value stored in it, and its lease over; or why it is not stored. */
export function withValue(
  { state }: KeyRecord,
  value: CacheValue,
  { nowMs, born }: { readonly nowMs: number; readonly born: number },
): KeyRecord | Exclude<StoreOutcome, 'stored'> {
  const { entry, barredUntilMs, tombstone } = state;
  if (isOlder(value.fence, tombstone?.fence) || isOlder(value.fence, entry?.fence)) return 'older';
  const { payload, note, freshMs, keepMs, loadMs, tags, fence } = value;
  return {
    payload,
    state: {
      entry: {
        note,
        storedAtMs: nowMs,
        freshUntilMs: nowMs + freshMs,
        keptUntilMs: nowMs + keepMs,
        loadMs,
        tags,
        born,
        ...(fence === undefined ? {} : { fence }),
      },
      ...(barredUntilMs === undefined ? {} : { barredUntilMs }),
      ...(tombstone === undefined ? {} : { tombstone }),
    },
  };
}

/** A pruned record after an invalidation. */
export function invalidated(
  { state, payload }: KeyRecord,
  { fence, as = 'delete', barMs }: InvalidateOptions,
  nowMs: number,
): KeyRecord {
  const { entry, tombstone } = state;
  const isLater =
    fence !== undefined && (tombstone === undefined || !isOlder(fence, tombstone.fence));
  const newest = isLater ? { fence, untilMs: nowMs + TOMBSTONE_MS } : tombstone;
  const remembered = newest === undefined ? {} : { tombstone: newest };
  if (fence !== undefined && entry?.fence !== undefined && !isOlder(entry.fence, fence))
    return { payload, state: { ...state, ...remembered } };
  const stays = as === 'expire' && entry !== undefined;
  return {
    payload: stays ? payload : undefined,
    state: {
      ...remembered,
      ...(stays ? { entry: { ...entry, freshUntilMs: nowMs } } : {}),
      ...(barMs === undefined ? {} : { barredUntilMs: nowMs + barMs }),
    },
  };
}

/** When nothing of a record counts any more. */
export function overAtMs({
  entry,
  lease,
  barredUntilMs = 0,
  failure,
  tombstone,
}: KeyState): number {
  return Math.max(
    entry?.keptUntilMs ?? 0,
    lease?.untilMs ?? 0,
    barredUntilMs,
    failure?.untilMs ?? 0,
    tombstone?.untilMs ?? 0,
  );
}

/** Without a fence there is nothing to compare: the lease alone decides. */
function isOlder(fence: Position | undefined, than: Position | undefined): boolean {
  return fence !== undefined && than !== undefined && comparePositions(fence, than) < 0;
}
