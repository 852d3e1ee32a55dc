import type { Database } from '../database.ts';

/**
 * One run of one server: when it was started, and its timeline. A server whose files were restored has the same
 * identity as before, but it was started since; and one that was promoted may have been started long before.
 */
export const RUN: string = `extract(epoch FROM pg_postmaster_start_time())::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)`;

/** How long the first write after a start of the server waits until capture has proved its history. */
const PROOF_MS = 2_000;
const LOOK_AGAIN_MS = 20;
/** No history has this name: what was committed in it compares with nothing. */
const UNKNOWN = 'unknown';

interface Seen {
  readonly run: string;
  readonly history: string;
  readonly proven: string | null;
}

/**
 * Knows in which history a write was committed.
 *
 * The names of a server, its timeline and its slot are not enough: 1. the application is open  2. the server behind
 * its URL is replaced by an older copy of its own files  3. a write gets an offset that was given out before, and
 * what targets applied before seems to cover it. Capture notices, but later. So a write belongs to the history only
 * in a run of the server in which capture has seen its proof; it leaves a note of that in the database itself, where
 * a restored copy does not have the note of its own run.
 */
export class Witness {
  readonly #database: Database;
  readonly #slot: string;
  #proven: Seen | undefined;
  /** A run that was waited for in vain: later writes look, but do not wait. */
  #doubted: string | undefined;
  #asking: Promise<Seen | undefined> | undefined;

  constructor(database: Database, slot: string) {
    this.#database = database;
    this.#slot = slot;
  }

  /** The present history has this name. */
  note(history: string): void {
    if (this.#proven?.history !== history) this.#proven = undefined;
  }

  /**
   * The history of what was committed in a run (undefined: in the present one). Undefined if nothing is captured
   * here. Never fails: the write is committed, and a history that cannot be told is none. Who asks `at once` does not
   * wait for the proof.
   */
  async historyOf(
    run: string | undefined,
    how: 'in time' | 'at once' = 'in time',
  ): Promise<string | undefined> {
    if (this.#proven !== undefined && this.#proven.run === run) return this.#proven.history;
    try {
      const seen = await (how === 'at once' ? this.#look() : this.#wait());
      if (seen === undefined) return undefined;
      const same = run === undefined || seen.run === run;
      return same && seen.proven === seen.run ? seen.history : UNKNOWN;
    } catch {
      return UNKNOWN;
    }
  }

  /** Those that wait at the same time wait together. */
  #wait(): Promise<Seen | undefined> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  /** Looks until the present run is proved, or has been waited for long enough. */
  async #ask(): Promise<Seen | undefined> {
    const { clock } = this.#database;
    const untilMs = clock.monotonicMs() + PROOF_MS;
    for (;;) {
      const seen = await this.#look();
      if (seen === undefined) return undefined;
      if (seen.proven === seen.run) return seen;
      if (seen.run === this.#doubted || clock.monotonicMs() >= untilMs) {
        this.#doubted = seen.run;
        return seen;
      }
      await clock.sleep(LOOK_AGAIN_MS);
    }
  }

  async #look(): Promise<Seen | undefined> {
    const { schema } = this.#database;
    // A database that nothing is captured from has no such table, and a statement that names it would fail.
    const [there] = await this.#database.query<{ there: boolean }>(
      'SELECT to_regclass($1) IS NOT NULL AS there',
      [`${schema}.capture`],
    );
    if (there?.there !== true) return undefined;
    const rows = await this.#database.query<Seen>(
      `SELECT ${RUN} AS run, proven, system_identifier::text || '/' ||
         ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int::text || '/' || history AS history
       FROM ${schema}.capture, pg_catalog.pg_control_system() WHERE slot = $1`,
      [this.#slot],
    );
    const seen = rows[0];
    if (seen !== undefined && seen.proven === seen.run) this.#proven = seen;
    return seen;
  }
}
