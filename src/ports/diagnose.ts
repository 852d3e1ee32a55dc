/** What the application asks of a store, as its plan says. */
export interface StoreUse {
  /** Tables that flows read. Empty: nothing is captured here. */
  readonly tables: readonly string[];
  /** Targets that flows write. */
  readonly targets: readonly string[];
}

/** One thing that was looked at. */
export interface Finding {
  /** `ok`: as it should be. `warn`: works, with a consequence that is named. `fail`: does not work. */
  readonly level: 'ok' | 'warn' | 'fail';
  /** What was looked at, e.g. `wal_level`. */
  readonly check: string;
  /** What was found, one clause. */
  readonly found: string;
  /** The exact command, setting or statement that mends it, and who may run it; not for `ok`. */
  readonly remedy?: string;
}

/** Looks without changing anything. Throws STORE_UNREACHABLE if the store cannot be asked. */
export type Diagnose = (use: StoreUse) => Promise<readonly Finding[]>;
