import type { StatementSync } from 'node:sqlite';
import { TallyError, unreachable } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import type { LeaseRecord, LedgerOperation, LedgerRecord } from '../../../ports/ledger.ts';
import { openConnection, type Connection } from '../connection.ts';
import { resultCode, sqliteError } from '../errors.ts';
import type { FailureMessage } from '../failures.ts';
import { decideLease, type LeaseOperation, type LeaseRow } from './lease-decision.ts';
import type { ListOptions, Step, StepOutcome, WorkerSetup } from './messages.ts';
import { afterPrefix } from './prefix.ts';
import { prepareSchema } from './schema.ts';

/** SQLite's own page size; `fileBytesMax` is counted in pages. */
const PAGE_BYTES = 4_096;
/** Greater than any text in the order of SQLite, so that "below this" is always true. */
const ABOVE_ALL_TEXT: Uint8Array = new Uint8Array();
/** SQLITE_IOERR. */
const IO_ERROR = 10;

/** One step's own failure, on its way out of the step; nothing of the flush but the step ends by it. */
class StepRefused extends Error {
  readonly reason: FailureMessage;

  constructor(reason: FailureMessage) {
    super(reason.code);
    this.reason = reason;
  }
}

/**
 * The ledger's state machine over one connection, without threads: it executes a flush of many
 * steps in one transaction. Synchronous; it blocks its thread for the disk and for the lock.
 */
export class LedgerEngine {
  readonly #connection: Connection;
  readonly #where: string;
  readonly #sql: Readonly<Record<keyof typeof statements, StatementSync>>;
  /** The counter of versions inside a flush; undefined until the flush needs it. */
  #version: number | undefined;
  #storedVersion = 0;

  /**
   * Opens or creates the ledger's file. Throws STORE_UNREACHABLE, STORE_CORRUPT, STORE_BUSY,
   * STORE_FULL, or CONFIG_INVALID if the file is not a ledger or a newer one.
   */
  constructor(setup: WorkerSetup) {
    const { file, where, busyTimeoutMs, fileBytesMax } = setup;
    this.#where = where;
    this.#connection = openConnection({ file, synchronous: 'FULL', busyTimeoutMs });
    const { database } = this.#connection;
    try {
      // Savepoints keep their undo in memory; a step is bounded, so that memory is too.
      this.#connection.exec('PRAGMA temp_store = MEMORY');
      this.#connection.transaction(() => prepareSchema(database, where));
      if (fileBytesMax !== undefined) {
        this.#connection.exec(`PRAGMA max_page_count = ${Math.floor(fileBytesMax / PAGE_BYTES)}`);
      }
      this.#sql = this.#connection.guard(() => prepareAll(this.#connection));
    } catch (error) {
      this.#connection.close();
      throw error;
    }
  }

  /**
   * Commits all steps that may happen, durably, and tells of each what became of it. A step that is
   * refused leaves nothing and disturbs no other. Throws if the transaction as a whole failed; then
   * nothing of any step was kept, except after COMMIT_UNKNOWN, when nobody can know.
   */
  flush(steps: readonly Step[]): StepOutcome[] {
    const outcomes: StepOutcome[] = [];
    let committing = false;
    this.#version = undefined;
    try {
      this.#sql.begin.run();
      for (const step of steps) outcomes.push(this.#outcome(step));
      this.#storeVersion();
      point('ledger.before-commit');
      committing = true;
      this.#sql.commit.run();
    } catch (error) {
      // A failed statement may have ended the transaction already (a full disk does).
      if (this.#connection.database.isTransaction) this.#sql.rollback.run();
      throw this.#flushError(error, committing);
    }
    point('ledger.after-commit-before-answer');
    return outcomes;
  }

  get(space: string, key: string): LedgerRecord | undefined {
    return this.#guard(() => {
      const row = this.#sql.get.get(space, key);
      return row === undefined ? undefined : recordOf(row);
    });
  }

  /** In the byte order of the keys' UTF-8. */
  list(space: string, options: ListOptions): LedgerRecord[] {
    const { prefix = '', after, limit = -1 } = options;
    const end = afterPrefix(prefix) ?? ABOVE_ALL_TEXT;
    return this.#guard(() =>
      after === undefined
        ? this.#sql.list.all(space, prefix, end, limit).map(recordOf)
        : this.#sql.listAfter.all(space, prefix, end, after, limit).map(recordOf),
    );
  }

  leases(): LeaseRecord[] {
    return this.#guard(() => this.#sql.leases.all().map(leaseOf));
  }

  close(): void {
    this.#connection.close();
  }

  /**
   * A step runs in a savepoint only if it could fail after it has written something. All others
   * are undone by never having begun, and a savepoint costs as much as a small write.
   */
  #outcome(step: Step): StepOutcome {
    const undoable = mayFailAfterWriting(step);
    if (undoable) this.#sql.savepoint.run();
    try {
      const results = step.map((operation) => this.#apply(operation));
      if (undoable) this.#sql.release.run();
      return results;
    } catch (error) {
      if (!(error instanceof StepRefused)) throw error;
      if (undoable) {
        this.#sql.rollbackTo.run();
        this.#sql.release.run();
      }
      return error.reason;
    }
  }

  #apply(operation: LedgerOperation): number {
    switch (operation.kind) {
      case 'put':
        return this.#put(operation);
      case 'delete':
        return this.#delete(operation);
      default:
        return this.#lease(operation);
    }
  }

  #put(operation: Extract<LedgerOperation, { readonly kind: 'put' }>): number {
    const { space, key, value, ifVersion } = operation;
    const version = this.#lastVersion() + 1;
    if (ifVersion === undefined) {
      this.#sql.put.run(space, key, value, version);
    } else if (ifVersion === 0) {
      if (this.#sql.insert.run(space, key, value, version).changes === 0)
        throw this.#conflict(space, key, ifVersion);
    } else if (this.#sql.update.run(value, version, space, key, ifVersion).changes === 0) {
      throw this.#conflict(space, key, ifVersion);
    }
    this.#version = version;
    return version;
  }

  #delete(operation: Extract<LedgerOperation, { readonly kind: 'delete' }>): number {
    const { space, key, ifVersion } = operation;
    if (ifVersion === undefined) {
      this.#sql.delete.run(space, key);
    } else if (ifVersion === 0) {
      if (this.#sql.get.get(space, key) !== undefined) throw this.#conflict(space, key, ifVersion);
    } else if (this.#sql.deleteVersion.run(space, key, ifVersion).changes === 0) {
      throw this.#conflict(space, key, ifVersion);
    }
    return 0;
  }

  #lease(operation: LeaseOperation): number {
    const found = this.#sql.lease.get(operation.lease);
    const decision = decideLease(operation, found === undefined ? undefined : leaseRowOf(found));
    switch (decision.kind) {
      case 'keep':
        return 0;
      case 'refuse':
        throw new StepRefused({ code: decision.code, failure: decision.failure });
      case 'write': {
        const { owner, epoch, expiresAtMs } = decision.row;
        this.#sql.putLease.run(operation.lease, owner, epoch, expiresAtMs);
        return decision.result;
      }
      default:
        return unreachable(decision);
    }
  }

  /** The counter is read in every flush: another process may have moved it since the last one. */
  #lastVersion(): number {
    this.#version ??= this.#storedVersion = Number(this.#sql.version.get()?.['value']);
    return this.#version;
  }

  #storeVersion(): void {
    if (this.#version === undefined || this.#version === this.#storedVersion) return;
    this.#sql.setVersion.run(this.#version);
  }

  #conflict(space: string, key: string, ifVersion: number): StepRefused {
    const version = Number(this.#sql.get.get(space, key)?.['version'] ?? 0);
    const failure = {
      what: `the record has version ${version}, not ${ifVersion}`,
      where: `${this.#where}, space ${space}, key ${key}`,
      mend: 'read the record again and decide anew',
      details: { space, key, ifVersion, version },
    };
    return new StepRefused({ code: 'LEDGER_CONFLICT', failure });
  }

  /**
   * A disk error during COMMIT leaves it open whether the commit is in the file: its last frame may
   * have been written before the sync failed, and recovery after a crash would then find it.
   */
  #flushError(error: unknown, committing: boolean): unknown {
    if (committing && resultCode(error) === IO_ERROR) {
      return new TallyError('COMMIT_UNKNOWN', {
        what: 'the disk answered with an error while the ledger was committing',
        where: this.#where,
        mend: 'look at the disk, then read the records again before deciding',
        cause: error,
      });
    }
    return sqliteError(error, this.#where);
  }

  #guard<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw sqliteError(error, this.#where);
    }
  }
}

/** Whether an operation that can be refused comes after one that writes. */
export function mayFailAfterWriting(step: Step): boolean {
  let wrote = false;
  for (const operation of step) {
    const record = operation.kind === 'put' || operation.kind === 'delete';
    if (wrote && (!record || operation.ifVersion !== undefined)) return true;
    if (operation.kind !== 'guard') wrote = true;
  }
  return false;
}

const statements = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  savepoint: 'SAVEPOINT step',
  release: 'RELEASE step',
  rollbackTo: 'ROLLBACK TO step',
  put: `INSERT INTO record (space, key, value, version) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = excluded.value, version = excluded.version`,
  insert: `INSERT INTO record (space, key, value, version) VALUES (?, ?, ?, ?)
    ON CONFLICT DO NOTHING`,
  update: 'UPDATE record SET value = ?, version = ? WHERE space = ? AND key = ? AND version = ?',
  delete: 'DELETE FROM record WHERE space = ? AND key = ?',
  deleteVersion: 'DELETE FROM record WHERE space = ? AND key = ? AND version = ?',
  get: 'SELECT key, value, version FROM record WHERE space = ? AND key = ?',
  list: `SELECT key, value, version FROM record WHERE space = ? AND key >= ? AND key < ?
    ORDER BY key LIMIT ?`,
  listAfter: `SELECT key, value, version FROM record WHERE space = ? AND key >= ? AND key < ?
    AND key > ? ORDER BY key LIMIT ?`,
  lease: 'SELECT lease, owner, epoch, expires_at_ms FROM lease WHERE lease = ?',
  leases: `SELECT lease, owner, epoch, expires_at_ms FROM lease WHERE owner IS NOT NULL
    ORDER BY lease`,
  putLease: `INSERT INTO lease (lease, owner, epoch, expires_at_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch,
    expires_at_ms = excluded.expires_at_ms`,
  version: `SELECT value FROM counter WHERE name = 'version'`,
  setVersion: `UPDATE counter SET value = ? WHERE name = 'version'`,
} as const;

function prepareAll(
  connection: Connection,
): Readonly<Record<keyof typeof statements, StatementSync>> {
  const prepared = Object.entries(statements).map(([name, sql]) => [
    name,
    connection.database.prepare(sql),
  ]);
  return Object.fromEntries(prepared) as Record<keyof typeof statements, StatementSync>;
}

type Columns = Readonly<Record<string, unknown>>;

function recordOf(row: Columns): LedgerRecord {
  return {
    key: String(row['key']),
    value: String(row['value']),
    version: Number(row['version']),
  };
}

function leaseRowOf(row: Columns): LeaseRow {
  const { owner } = row;
  return {
    owner: typeof owner === 'string' ? owner : null,
    epoch: Number(row['epoch']),
    expiresAtMs: Number(row['expires_at_ms']),
  };
}

function leaseOf(row: Columns): LeaseRecord {
  const { owner, epoch, expiresAtMs } = leaseRowOf(row);
  return { lease: String(row['lease']), owner: String(owner), epoch, expiresAtMs };
}
