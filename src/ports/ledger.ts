import type { StoreContext } from './store.ts';

/**
 * The ledger keeps the coordinator's own state as small records in spaces. A step is a list of
 * operations that happen together or not at all; concurrent steps share commits.
 */
export type LedgerOperation =
  /** Writes a record. `ifVersion`: only over this version (0: only if absent). */
  | {
      readonly kind: 'put';
      readonly space: string;
      readonly key: string;
      readonly value: string;
      readonly ifVersion?: number;
    }
  | {
      readonly kind: 'delete';
      readonly space: string;
      readonly key: string;
      readonly ifVersion?: number;
    }
  /**
   * Fails the step with FENCED_OUT unless this lease is held under this epoch. An expired lease
   * that nobody else took is still held: expiry allows a change of hands, the epoch fences.
   */
  | { readonly kind: 'guard'; readonly lease: string; readonly epoch: number }
  /**
   * Takes a lease that is free, expired, its own already, or held by `breakOwner` (whom the caller
   * knows to be dead). Every change of hands raises the epoch; so does taking one's own lease after
   * it expired or was released. Fails with LEASE_HELD.
   *
   * `floor`: the epoch given is greater than this, also where the lease is its own already. For a
   * holder that met a greater epoch than its own where it works: this ledger never gave it out, so
   * it is of a ledger that is gone.
   */
  | {
      readonly kind: 'acquire';
      readonly lease: string;
      readonly owner: string;
      readonly ttlMs: number;
      readonly nowMs: number;
      readonly breakOwner?: string;
      readonly floor?: number;
    }
  /** Extends a lease; fails with FENCED_OUT if it was lost. */
  | {
      readonly kind: 'renew';
      readonly lease: string;
      readonly epoch: number;
      readonly ttlMs: number;
      readonly nowMs: number;
    }
  /** Gives a lease up; fails with FENCED_OUT if it was lost. Its epoch goes on from here. */
  | { readonly kind: 'release'; readonly lease: string; readonly epoch: number };

/** In the order of the operations: the record's new version, the lease's epoch, or 0. */
export type LedgerResult = readonly number[];

export interface LedgerRecord {
  readonly key: string;
  readonly value: string;
  readonly version: number;
}

export interface LeaseRecord {
  readonly lease: string;
  readonly owner: string;
  readonly epoch: number;
  readonly expiresAtMs: number;
}

export interface LedgerSupports {
  readonly durable: boolean;
  /** Workers on several machines can share it. */
  readonly shared: boolean;
}

/** The small transactional store of checkpoints, leases, epochs, sagas, migrations, parked work. */
export interface Ledger extends AsyncDisposable {
  readonly supports: LedgerSupports;
  /**
   * Commits one step durably. Its conflict (LEDGER_CONFLICT, LEASE_HELD, FENCED_OUT) rejects it
   * alone and leaves nothing of it; if the shared COMMIT fails, all its steps reject with that error.
   */
  commit(operations: readonly LedgerOperation[]): Promise<LedgerResult>;
  get(space: string, key: string): Promise<LedgerRecord | undefined>;
  /** In the byte order of the keys' UTF-8; `after` a key, not including it. */
  list(
    space: string,
    options?: { readonly prefix?: string; readonly after?: string; readonly limit?: number },
  ): Promise<readonly LedgerRecord[]>;
  /** The leases that are not released, expired ones included, in the byte order of their names. */
  leases(): Promise<readonly LeaseRecord[]>;
  close(): Promise<void>;
}

/** What a factory such as `sqliteLedger({ file })` returns: how to open a ledger, without opening it. */
export interface LedgerDefinition {
  /** The system, e.g. `sqlite`. */
  readonly system: string;
  /** Opens the ledger. Throws STORE_UNREACHABLE, STORE_BUSY, STORE_CORRUPT or CONFIG_INVALID. */
  open(context: StoreContext): Promise<Ledger>;
}
