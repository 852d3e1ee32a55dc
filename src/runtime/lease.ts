import { isTallyError, TallyError } from '../core/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger, LedgerOperation } from '../ports/ledger.ts';

/** Long enough for a pause of the process, short enough for a person to wait for. */
export const LEASE_TTL_MS = 10_000;

const RENEWALS_PER_TERM = 3;
/**
 * How often in a row a lease is lifted above a remembered epoch: source, log and target have one each. Whom somebody
 * else keeps outbidding (two applications with two ledgers on one target) stands by, instead of outbidding at once.
 */
const LIFTS_MAX = 4;
/** How often a renewal that failed is tried in the time of one term. */
const TRIES_PER_TERM = 20;

export interface LeaseOptions {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly lease: string;
  readonly owner: string;
  /** Whether the holder, by its owner text, is known to be dead: then its lease is taken at once. */
  readonly isDead: (owner: string) => boolean;
  readonly ttlMs?: number;
  /** The epoch given is greater than this. */
  readonly floor?: number;
  /** Not given: only the loss of the lease ends its signal. */
  readonly signal?: AbortSignal;
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
  const floor = options.floor === undefined ? {} : { floor: options.floor };
  const holder = (await ledger.leases()).find((record) => record.lease === lease);
  const breakOwner =
    holder !== undefined && holder.owner !== owner && options.isDead(holder.owner)
      ? { breakOwner: holder.owner }
      : {};
  // The term runs from before the ledger was asked: the ledger cannot have counted it from later.
  const startedAtMs = clock.monotonicMs();
  const [epoch = 0] = await ledger.commit([
    { kind: 'acquire', lease, owner, ttlMs, nowMs: clock.nowMs(), ...breakOwner, ...floor },
  ]);
  return held(options, epoch, new Renewal(options, ttlMs, epoch, startedAtMs));
}

/**
 * Takes a lease and works under it; `work` releases it. Where a target, a source or a log says that a greater epoch
 * than ours holds it, while the ledger says that the lease is ours, that epoch was given out by a ledger that is gone:
 * the lease is taken again above it, and the work begins anew.
 *
 * A worker that lost its lease to a live one does not come by it like this. Otherwise: 1. a worker is suspended
 * 2. another takes over  3. the first goes on, is refused by the target, and outbids the one that took over. It is
 * the ledger that decides: only whom it gives the lease has an epoch to raise, and it gives nobody a lease that is held.
 */
export async function workUnderLease(
  options: LeaseOptions,
  work: (lease: HeldLease) => Promise<void>,
): Promise<void> {
  let floor = options.floor;
  for (let lifts = 0; ; lifts += 1) {
    const lease = await takeLease(floor === undefined ? options : { ...options, floor });
    try {
      await work(lease);
      return;
    } catch (error) {
      const remembered = epochAbove(error, lease.epoch);
      if (remembered === undefined || options.signal?.aborted === true || lifts >= LIFTS_MAX)
        throw error;
      floor = remembered;
    }
  }
}

/** The epoch that a store names as the one that holds it, if it is above ours. */
function epochAbove(error: unknown, epoch: number): number | undefined {
  if (!isTallyError(error, 'FENCED_OUT')) return undefined;
  const { holder } = error.details;
  return Number.isSafeInteger(holder) && Number(holder) > epoch ? Number(holder) : undefined;
}

/**
 * Renews at a third of the term. A renewal that fails for another reason than a lost lease (ledger
 * busy, say) is tried again soon. When the term is over by our own monotonic clock the lease is lost,
 * whether a renewal has failed or still hangs: from then on somebody else may hold it.
 */
class Renewal {
  readonly #options: LeaseOptions;
  readonly #ttlMs: number;
  readonly #epoch: number;
  readonly #lost = new AbortController();
  #renewedAtMs: number;
  #ended = false;
  #cancelRenewal = (): void => undefined;
  #cancelExpiry = (): void => undefined;

  constructor(options: LeaseOptions, ttlMs: number, epoch: number, acquiredAtMs: number) {
    this.#options = options;
    this.#ttlMs = ttlMs;
    this.#epoch = epoch;
    this.#renewedAtMs = acquiredAtMs;
    this.#expireInTime(undefined);
    this.#schedule(RENEWALS_PER_TERM);
  }

  /** Aborts when the lease was lost. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** From now on nothing is renewed; whether that was still going on. */
  end(): boolean {
    const wasRunning = !this.#ended;
    this.#ended = true;
    this.#cancelRenewal();
    this.#cancelExpiry();
    return wasRunning;
  }

  #schedule(timesPerTerm: number): void {
    this.#cancelRenewal = this.#options.clock.after(
      this.#ttlMs / timesPerTerm,
      () => void this.#renew(),
    );
  }

  async #renew(): Promise<void> {
    const { ledger, clock, lease } = this.#options;
    const startedAtMs = clock.monotonicMs();
    const renewal = { lease, epoch: this.#epoch, ttlMs: this.#ttlMs, nowMs: clock.nowMs() };
    let failure: unknown;
    try {
      await ledger.commit([{ kind: 'renew', ...renewal }]);
      this.#renewedAtMs = startedAtMs;
    } catch (error) {
      failure = error;
    }
    if (this.#ended || this.lost.aborted) return;
    if (isTallyError(failure, 'FENCED_OUT')) {
      this.#lose(failure);
      return;
    }
    this.#expireInTime(failure);
    this.#schedule(failure === undefined ? RENEWALS_PER_TERM : TRIES_PER_TERM);
  }

  #expireInTime(cause: unknown): void {
    const { clock } = this.#options;
    this.#cancelExpiry();
    const leftMs = this.#ttlMs - (clock.monotonicMs() - this.#renewedAtMs);
    this.#cancelExpiry = clock.after(leftMs, () => this.#lose(cause));
  }

  #lose(cause: unknown): void {
    this.#cancelRenewal();
    this.#cancelExpiry();
    this.#lost.abort(
      new TallyError('FENCED_OUT', {
        what: `lease ${this.#options.lease} was lost`,
        mend: 'nothing; the newer worker goes on',
        cause,
      }),
    );
  }
}

function held(options: LeaseOptions, epoch: number, renewal: Renewal): HeldLease {
  const { ledger, lease, signal } = options;
  return {
    epoch,
    guard: { kind: 'guard', lease, epoch },
    signal: signal === undefined ? renewal.lost : AbortSignal.any([signal, renewal.lost]),
    async check() {
      renewal.lost.throwIfAborted();
      await ledger.commit([{ kind: 'guard', lease, epoch }]).catch((error: unknown) => {
        // A ledger that cannot be asked says nothing about the lease.
        if (isTallyError(error, 'FENCED_OUT')) throw error;
      });
    },
    async release() {
      if (!renewal.end()) return;
      // A lease that is already lost, or a ledger that is gone, leaves nothing to give back.
      await ledger.commit([{ kind: 'release', lease, epoch }]).catch(() => undefined);
    },
  };
}
