import { isTallyError, TallyError } from '../../core/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { LeaseRecord, Ledger } from '../../ports/ledger.ts';
import { type HeldLease, takeLease } from '../../runtime/lease.ts';
import { OWNED, WORKER_LEASE } from './spaces.ts';

/** Long enough for a pause of the process, short enough for a customer to wait for. */
export const WORKER_LEASE_MS = 3_000;
/** Workers of one ledger at the same time. */
const WORKERS_MAX = 1_000;

export interface MembershipOptions {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly owner: string;
  readonly isDead: (owner: string) => boolean;
  readonly leaseMs: number;
}

/** A worker among others: its lease, by which they see that it is there. */
export interface Member {
  /** The number of its place and the epoch of its lease: no two workers ever have the same. */
  readonly id: string;
  readonly lease: HeldLease;
}

/** Takes the first place that is free. Throws STORE_BUSY if there is none. */
export async function join(options: MembershipOptions): Promise<Member> {
  const { ledger, leaseMs } = options;
  const taken = new Set((await ledger.leases()).map(({ lease }) => lease));
  for (let place = 0; place < WORKERS_MAX; place += 1) {
    const name = `${WORKER_LEASE}${place}`;
    if (taken.has(name)) continue;
    try {
      const lease = await takeLease({ ...options, lease: name, ttlMs: leaseMs });
      return { id: `${place}.${lease.epoch}`, lease };
    } catch (error) {
      if (!isTallyError(error, 'LEASE_HELD')) throw error;
    }
  }
  throw new TallyError('STORE_BUSY', {
    what: `${WORKERS_MAX} workers run sagas with this ledger`,
    mend: 'run fewer processes, or give some of them a ledger of their own',
  });
}

interface Seen {
  readonly epoch: number;
  readonly expiresAtMs: number;
  readonly atMs: number;
}

/**
 * Tells which workers are gone. Whether one still renews its lease is what counts, measured with our own monotonic
 * clock: clocks that differ, or jump, make nobody look dead who is not.
 */
export class Watch {
  readonly #options: MembershipOptions;
  readonly #seen = new Map<string, Seen>();

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /** The workers that have sagas, and are gone. */
  async gone(self: string): Promise<readonly string[]> {
    const { ledger } = this.#options;
    const leases = (await ledger.leases()).filter(({ lease }) => lease.startsWith(WORKER_LEASE));
    const alive = new Set(leases.filter((lease) => this.#isAlive(lease)).map(idOf));
    const owners = await this.#owners();
    for (const lease of leases)
      if (!alive.has(idOf(lease)) && !owners.includes(idOf(lease))) await this.#clear(lease);
    return owners.filter((owner) => owner !== self && !alive.has(owner));
  }

  #isAlive(record: LeaseRecord): boolean {
    const { clock, isDead, leaseMs } = this.#options;
    if (isDead(record.owner)) return false;
    const nowMs = clock.monotonicMs();
    const seen = this.#seen.get(record.lease);
    if (seen?.epoch === record.epoch && seen.expiresAtMs === record.expiresAtMs)
      return nowMs - seen.atMs <= leaseMs;
    const { epoch, expiresAtMs } = record;
    this.#seen.set(record.lease, { epoch, expiresAtMs, atMs: nowMs });
    return true;
  }

  /** The workers that have sagas: one look for each, however many they have. */
  async #owners(): Promise<readonly string[]> {
    const owners: string[] = [];
    let after: string | undefined;
    for (;;) {
      const [first] = await this.#options.ledger.list(OWNED, {
        limit: 1,
        ...(after === undefined ? {} : { after }),
      });
      if (first === undefined) return owners;
      const owner = first.key.slice(0, first.key.indexOf('/'));
      owners.push(owner);
      // '0' comes right after '/': behind every saga of this worker, before any other worker.
      after = `${owner}0`;
    }
  }

  /** Frees the place of a worker that is gone and has nothing left. */
  async #clear({ lease, owner }: LeaseRecord): Promise<void> {
    const { ledger, clock, owner: self } = this.#options;
    try {
      const nowMs = clock.nowMs();
      const [epoch = 0] = await ledger.commit([
        { kind: 'acquire', lease, owner: self, ttlMs: 1, nowMs, breakOwner: owner },
      ]);
      await ledger.commit([{ kind: 'release', lease, epoch }]);
    } catch (error) {
      // Somebody else was faster.
      if (!isTallyError(error, 'LEASE_HELD', 'FENCED_OUT')) throw error;
    }
  }
}

function idOf({ lease, epoch }: LeaseRecord): string {
  return `${lease.slice(WORKER_LEASE.length)}.${epoch}`;
}
