import type { CacheAsk, CacheEntry, CacheValue } from '../../../ports/cache.ts';
import type { KeyRecord, RecordEntry, Stamp } from './record.ts';

/** What a record says to somebody who asks. */
export type Wish =
  /** Nothing but the entry is wanted. */
  | { readonly kind: 'none' }
  /** The lease is free, and wanted. */
  | { readonly kind: 'take' }
  | { readonly kind: 'held'; readonly id: string }
  | { readonly kind: 'barred' }
  | { readonly kind: 'failed'; readonly reason: string; readonly forMs: number };

const NONE: Wish = { kind: 'none' };

/** Decides whether a lease on a key is to be taken. `isDead` knows holders that give no sign of life. */
export function wishOf(
  record: KeyRecord,
  ask: CacheAsk,
  generation: number,
  isDead: (leaseId: string) => boolean,
): Wish {
  if (ask.lease === 'none') return NONE;
  const { entry, lease, barredForS = 0, failure } = record;
  const freshForMs = (entry?.freshForS ?? 0) * 1_000;
  const isFresh = entry !== undefined && freshForMs > 0;
  const isEarly = isFresh && freshForMs < ask.early * entry.loadMs;
  if (isFresh && !isEarly && ask.lease === 'due') return NONE;
  // Nobody waits for the early refresh of somebody else.
  const waitedFor = (wish: Wish): Wish => (!isFresh || ask.lease === 'always' ? wish : NONE);
  if (barredForS > 0) return waitedFor({ kind: 'barred' });
  if (lease !== undefined && lease.generation === generation && !isDead(lease.id))
    return waitedFor({ kind: 'held', id: lease.id });
  if (failure !== undefined)
    return waitedFor({ kind: 'failed', reason: failure.reason, forMs: failure.forS * 1_000 });
  return { kind: 'take' };
}

/** The record with the lease taken: whatever had failed is tried again. */
export function withLease(
  record: KeyRecord,
  lease: { readonly id: string; readonly forS: number; readonly generation: number },
): KeyRecord {
  return { ...(record.entry === undefined ? {} : { entry: record.entry }), lease };
}

/** A value as an entry of its first second. */
export function entryOfValue(value: CacheValue, born: Stamp): RecordEntry {
  const { payload, note, loadMs, tags } = value;
  return {
    payload: typeof payload === 'string' ? payload : Buffer.from(payload),
    note,
    ageS: 0,
    freshForS: wholeSeconds(value.freshMs),
    keepForS: Math.max(1, wholeSeconds(value.keepMs)),
    loadMs: Math.round(loadMs),
    tags,
    born,
  };
}

/** As the port shows an entry. */
export function portEntry(entry: RecordEntry): CacheEntry {
  const { payload, note, loadMs, tags } = entry;
  return {
    payload,
    note,
    freshForMs: entry.freshForS * 1_000,
    ageMs: entry.ageS * 1_000,
    loadMs,
    tags,
    fence: undefined,
  };
}

/** Rounded down, but never below one second: to be fresh for half a second is to be fresh. */
function wholeSeconds(ms: number): number {
  return ms === 0 ? 0 : Math.max(1, Math.floor(ms / 1_000));
}
