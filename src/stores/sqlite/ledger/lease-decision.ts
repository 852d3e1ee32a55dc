import { unreachable, type Failure } from '../../../core/errors.ts';
import type { LedgerOperation } from '../../../ports/ledger.ts';

/** A lease as stored. `owner` null: released; the row stays, because the epoch only grows. */
export interface LeaseRow {
  readonly owner: string | null;
  readonly epoch: number;
  readonly expiresAtMs: number;
}

/** The row a lease operation leaves, or why its step fails. */
export type LeaseDecision =
  | { readonly kind: 'write'; readonly row: LeaseRow; readonly result: number }
  | { readonly kind: 'keep' }
  | {
      readonly kind: 'refuse';
      readonly code: 'LEASE_HELD' | 'FENCED_OUT';
      readonly failure: Failure;
    };

export type LeaseOperation = Extract<LedgerOperation, { readonly lease: string }>;

/**
 * What a lease operation does to the lease as it stands. The epoch stays only while the holder
 * itself extends a lease that it provably never lost: same owner, not expired. In every other case
 * it grows, also if the same owner takes an expired or released lease again: in between, somebody
 * may have acted on seeing it free, and what the owner had under way must not pass the guard.
 *
 * An expired lease that nobody took can still be renewed, guarded by and released: expiry only
 * *allows* a change of hands, the epoch is what fences.
 */
export function decideLease(
  operation: LeaseOperation,
  current: LeaseRow | undefined,
): LeaseDecision {
  if (operation.kind === 'acquire') return decideAcquire(operation, current);
  if (current === undefined || current.owner === null || current.epoch !== operation.epoch)
    return lost(operation.lease, operation.epoch, current);
  const { owner, epoch } = current;
  switch (operation.kind) {
    case 'guard':
      return { kind: 'keep' };
    case 'renew': {
      const expiresAtMs = operation.nowMs + operation.ttlMs;
      return { kind: 'write', row: { owner, epoch, expiresAtMs }, result: epoch };
    }
    case 'release':
      return { kind: 'write', row: { owner: null, epoch, expiresAtMs: 0 }, result: 0 };
    default:
      return unreachable(operation);
  }
}

function decideAcquire(
  operation: Extract<LedgerOperation, { readonly kind: 'acquire' }>,
  current: LeaseRow | undefined,
): LeaseDecision {
  const { lease, owner, ttlMs, nowMs, breakOwner, floor = -1 } = operation;
  const expiresAtMs = nowMs + ttlMs;
  const held = current !== undefined && current.owner !== null && current.expiresAtMs > nowMs;
  const broken = held && current.owner === breakOwner;
  if (held && !broken && current.owner !== owner) {
    const failure = {
      what: `the lease is held by ${current.owner}`,
      where: `lease ${lease}`,
      mend: 'wait until it is released or expires, or stop its holder',
      details: {
        lease,
        owner: current.owner,
        epoch: current.epoch,
        expiresAtMs: current.expiresAtMs,
      },
    };
    return { kind: 'refuse', code: 'LEASE_HELD', failure };
  }
  const next = held && !broken ? current.epoch : (current?.epoch ?? 0) + 1;
  const epoch = Math.max(next, floor + 1);
  return { kind: 'write', row: { owner, epoch, expiresAtMs }, result: epoch };
}

function lost(lease: string, epoch: number, current: LeaseRow | undefined): LeaseDecision {
  const failure = {
    what: `the lease is no longer held under epoch ${epoch}`,
    where: `lease ${lease}`,
    mend: 'stop this work: whoever holds the lease now goes on with it',
    details: {
      lease,
      epoch,
      ...(current === undefined ? {} : { owner: current.owner, currentEpoch: current.epoch }),
    },
  };
  return { kind: 'refuse', code: 'FENCED_OUT', failure };
}
