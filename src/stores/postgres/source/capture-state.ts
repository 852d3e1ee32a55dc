import { must, TallyError } from '../../../core/errors.ts';
import { sqlState } from '../errors.ts';
import type { Database, Queryable } from '../database.ts';

/**
 * What capture keeps in the owner's database, a row for each slot.
 *
 * - `history`: made anew whenever the slot is; with system and timeline it is the identity of the history.
 * - `consistent_point`: where the slot began. A slot that has not been acknowledged yet and stands further on is
 *   not the one that was made: somebody dropped it and made another, and what lay between is gone.
 * - `acknowledged`: whether anything ever was. It is written once: a write at each acknowledgement would be a
 *   transaction to capture and acknowledge, for ever.
 * - `worker_epoch`: the newest worker; older ones may not acknowledge.
 * - `proven`: the run of the server (see `witness.ts`) in which capture last saw that the history is this one.
 */
const CAPTURE_TABLES = (schema: string): string => `
CREATE TABLE IF NOT EXISTS ${schema}.capture (
  slot text PRIMARY KEY, history text NOT NULL, consistent_point pg_lsn, acknowledged boolean NOT NULL DEFAULT false,
  worker_epoch bigint NOT NULL DEFAULT 0, proven text
);
ALTER TABLE ${schema}.capture ADD COLUMN IF NOT EXISTS proven text;
CREATE TABLE IF NOT EXISTS ${schema}.captured (slot text, name text, PRIMARY KEY (slot, name));`;

/** A row of it. */
export interface CaptureState {
  readonly history: string;
  /** Undefined while the slot is being made. */
  readonly consistentPoint: string | undefined;
  readonly acknowledged: boolean;
  readonly workerEpoch: number;
}

/** Makes the tables. Idempotent. */
export async function ensureCapture(database: Database): Promise<void> {
  await database.ensure('capture', 2, CAPTURE_TABLES(database.schema));
}

/** What is kept of a slot; undefined if nothing is, or the tables are not there. */
export async function readCapture(
  database: Database,
  slot: string,
  on: Queryable = database,
): Promise<CaptureState | undefined> {
  const rows = await on
    .query<{ history: string; point: string | null; acknowledged: boolean; epoch: number }>(
      `SELECT history, consistent_point::text AS point, acknowledged, worker_epoch AS epoch
       FROM ${database.schema}.capture WHERE slot = $1`,
      [slot],
    )
    .catch(noTables);
  const row = rows[0];
  if (row === undefined) return undefined;
  const { history, point, acknowledged, epoch } = row;
  return {
    history,
    consistentPoint: point ?? undefined,
    acknowledged,
    workerEpoch: epoch,
  };
}

/** Names of tables that were ever prepared for a slot. */
export async function readCaptured(database: Database, slot: string): Promise<readonly string[]> {
  const rows = await database
    .query<{ name: string }>(
      `SELECT name FROM ${database.schema}.captured WHERE slot = $1 ORDER BY name`,
      [slot],
    )
    .catch(noTables);
  return rows.map(({ name }) => name);
}

/** Keeps the names of prepared tables. */
export async function addCaptured(
  database: Database,
  slot: string,
  names: readonly string[],
): Promise<void> {
  const known = await readCaptured(database, slot);
  const fresh = names.filter((name) => !known.includes(name));
  if (fresh.length === 0) return;
  await database.run(
    `INSERT INTO ${database.schema}.captured SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING`,
    [slot, fresh],
  );
}

/** Registers a worker. Throws FENCED_OUT if a newer one is there. */
export async function claimCapture(
  database: Database,
  slot: string,
  workerEpoch: number,
): Promise<void> {
  const { count } = await database.run(
    `UPDATE ${database.schema}.capture SET worker_epoch = $2 WHERE slot = $1 AND worker_epoch <= $2`,
    [slot, workerEpoch],
  );
  if (count > 0) return;
  const state = must(await readCapture(database, slot), `the record of slot ${slot}`);
  throw fencedOut(workerEpoch, state.workerEpoch);
}

/** Throws FENCED_OUT if a newer worker is registered than `workerEpoch`. */
export async function checkClaim(
  database: Database,
  slot: string,
  workerEpoch: number,
): Promise<CaptureState> {
  const state = await readCapture(database, slot);
  if (state === undefined)
    throw new TallyError('HISTORY_LOST', {
      what: `the record of replication slot '${slot}' is gone`,
      where: `${database.where}, ${database.schema}.capture`,
      mend: 'start the application again: it makes a new slot, and asks for a new snapshot',
    });
  if (workerEpoch < state.workerEpoch) throw fencedOut(workerEpoch, state.workerEpoch);
  return state;
}

/** Notes that something was acknowledged, once in the life of a slot. */
export async function markAcknowledged(database: Database, slot: string): Promise<void> {
  await database.run(
    `UPDATE ${database.schema}.capture SET acknowledged = true WHERE slot = $1 AND NOT acknowledged`,
    [slot],
  );
}

/** Notes that what the slot sends in this run of the server is what was captured. Nobody but the present worker may. */
export async function markProven(
  database: Database,
  slot: string,
  workerEpoch: number,
  run: string,
): Promise<void> {
  await database.run(
    `UPDATE ${database.schema}.capture SET proven = $3
     WHERE slot = $1 AND worker_epoch = $2 AND proven IS DISTINCT FROM $3`,
    [slot, workerEpoch, run],
  );
}

/**
 * The server does not hold what was captured: from now on its history has another name, so that no process takes it
 * for the one before. Otherwise: 1. the files of the server are restored  2. capture notices, a person accepts that
 * 3. a process that knows only the epoch of before writes, and what was applied before seems to cover it.
 */
export async function renameHistory(
  database: Database,
  slot: string,
  workerEpoch: number,
  { history }: CaptureState,
): Promise<void> {
  await database.run(
    `UPDATE ${database.schema}.capture SET history = $4
     WHERE slot = $1 AND worker_epoch = $2 AND history = $3`,
    [slot, workerEpoch, history, database.random.id()],
  );
}

/** The error for a worker whose lease has gone to a newer one. */
export function fencedOut(given: number, holder: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `worker epoch ${given} has been superseded by ${holder}`,
    mend: 'stop this worker; the newer one has taken over',
    details: { given, holder },
  });
}

function noTables(error: unknown): [] {
  if (['3F000', '42P01'].includes(sqlState(error) ?? '')) return [];
  throw error;
}
