import { isTallyError, TallyError } from '../core/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger, LedgerOperation } from '../ports/ledger.ts';

/** Long enough for a pause of the process, short enough for a person to wait for. */
export const LEASE_TTL_MS = 10_000;

export interface LeaseOptions {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly lease: string;
  readonly owner: string;
  /** Whether the holder, by its owner text, is known to be dead: then its lease is taken at once. */
  readonly isDead: (owner: string) => boolean;
  readonly ttlMs?: number;
  readonly signal: AbortSignal;
}

/** A lease that is held and renewed until it is released or lost. */
export interface HeldLease {
  readonly epoch: number;
  /** To put into the same ledger step as a write that this lease guards. */
  readonly guard: LedgerOperation;
  /** Aborts when the lease was lost, or when the caller's signal aborts. */
  readonly signal: AbortSignal;
  /**
   * Throws FENCED_OUT if the lease was lost, noticed or not. To be asked before a failure is believed: to a
   * worker that was suspended, what its successor did looks like damage.
   */
  check(): Promise<void>;
  release(): Promise<void>;
}

/** Takes a lease, or throws LEASE_HELD naming the holder. */
export async function takeLease(options: LeaseOptions): Promise<HeldLease> {
  const { ledger, clock, lease, owner } = options;
  const ttlMs = options.ttlMs ?? LEASE_TTL_MS;
  const holder = (await ledger.leases()).find((record) => record.lease === lease);
  const breakOwner =
    holder !== undefined && holder.owner !== owner && options.isDead(holder.owner)
      ? { breakOwner: holder.owner }
      : {};
  const [epoch = 0] = await ledger.commit([
    { kind: 'acquire', lease, owner, ttlMs, nowMs: clock.nowMs(), ...breakOwner },
  ]);
  return keepLease(options, ttlMs, epoch);
}

/**
 * Renews at a third of the term. A renewal that fails for another reason than a lost lease (ledger
 * busy, say) is tried again until the term is over by our own monotonic clock; from then on somebody
 * else may hold it, so we must be silent before that: the signal aborts.
 */
function keepLease(options: LeaseOptions, ttlMs: number, epoch: number): HeldLease {
  const { ledger, clock, lease } = options;
  const lost = new AbortController();
  let renewedAtMs = clock.monotonicMs();
  let released = false;
  let cancel = (): void => undefined;

  const schedule = (): void => {
    cancel = clock.after(ttlMs / 3, () => void renew());
  };
  const renew = async (): Promise<void> => {
    if (released) return;
    const startedAtMs = clock.monotonicMs();
    try {
      await ledger.commit([{ kind: 'renew', lease, epoch, ttlMs, nowMs: clock.nowMs() }]);
      renewedAtMs = startedAtMs;
    } catch (error) {
      if (isTallyError(error, 'FENCED_OUT') || clock.monotonicMs() - renewedAtMs >= ttlMs) {
        lost.abort(
          new TallyError('FENCED_OUT', {
            what: `lease ${lease} was lost`,
            mend: 'nothing; the newer worker goes on',
            cause: error,
          }),
        );
        return;
      }
    }
    if (!released) schedule();
  };
  schedule();

  return {
    epoch,
    guard: { kind: 'guard', lease, epoch },
    signal: AbortSignal.any([options.signal, lost.signal]),
    async check() {
      lost.signal.throwIfAborted();
      await ledger.commit([{ kind: 'guard', lease, epoch }]).catch((error: unknown) => {
        // A ledger that cannot be asked says nothing about the lease.
        if (isTallyError(error, 'FENCED_OUT')) throw error;
      });
    },
    async release() {
      if (released) return;
      released = true;
      cancel();
      // A lease that is already lost, or a ledger that is gone, leaves nothing to give back.
      await ledger.commit([{ kind: 'release', lease, epoch }]).catch(() => undefined);
    },
  };
}
