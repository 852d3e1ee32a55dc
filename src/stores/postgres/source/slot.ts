import { must, TallyError } from '../../../core/errors.ts';
import { point as crashPoint } from '../../../observe/point.ts';
import type { Database, Queryable, Session } from '../database.ts';
import { isConnectionLost, sqlState } from '../errors.ts';
import { readCapture } from './capture-state.ts';
import { RUN } from './witness.ts';

/** How long a claim waits until the one who streams from the slot is gone. */
const RELEASE_MS = 10_000;
const LOOK_AGAIN_MS = 20;

/** A replication slot as the server describes it. */
export interface Slot {
  readonly plugin: string | null;
  readonly database: string | null;
  readonly temporary: boolean;
  readonly activePid: number | null;
  /** `X/Y`. */
  readonly confirmed: string | null;
  /** Why the server threw away what the slot kept; undefined while it is whole. */
  readonly lost: string | undefined;
}

/** The slot of that name, or undefined. */
export async function readSlot(
  database: Database,
  slot: string,
  on: Queryable = database,
): Promise<Slot | undefined> {
  // Columns that older servers do not have are read through the row as a document.
  const rows = await on.query<{
    plugin: string | null;
    database: string | null;
    temporary: boolean;
    pid: number | null;
    confirmed: string | null;
    status: string | null;
    reason: string | null;
  }>(
    `SELECT plugin::text, database::text, temporary, active_pid AS pid, confirmed_flush_lsn::text AS confirmed,
       wal_status AS status, coalesce(to_jsonb(s)->>'invalidation_reason', to_jsonb(s)->>'conflicting') AS reason
     FROM pg_catalog.pg_replication_slots s WHERE slot_name = $1`,
    [slot],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const reason = row.reason === null || row.reason === 'false' ? undefined : row.reason;
  const lost = row.status === 'lost' ? (reason ?? 'wal_removed') : reason;
  const { plugin, temporary, pid, confirmed } = row;
  return { plugin, database: row.database, temporary, activePid: pid, confirmed, lost };
}

/** Runs `work` while no other process prepares the same slot. The lock is that of a session: a slot cannot be made in a transaction that wrote anything. */
export async function exclusively<Result>(
  database: Database,
  slot: string,
  work: (session: Session) => Promise<Result>,
): Promise<Result> {
  await using session = await database.connect();
  await session.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [`tallystick ${slot}`]);
  return await work(session);
}

/**
 * Makes the slot if it is not there, or is of no use any more, with a new identity of its history; `anew` if the
 * publication was not there, so that what the slot holds from before cannot be read. Within {@link exclusively}.
 * Whether it did. Throws CONFIG_INVALID if the name is taken, CAPABILITY_MISSING if the server does not let it.
 */
export async function ensureSlot(
  database: Database,
  slot: string,
  session: Session,
  how: 'keep' | 'anew',
): Promise<boolean> {
  if ((await isSound(database, slot, session)) && how === 'keep') return false;
  await found(database, slot, session);
  return true;
}

/** Whether slot and record belong together. Throws CONFIG_INVALID for a slot that is not ours. */
async function isSound(database: Database, name: string, on: Queryable): Promise<boolean> {
  const slot = await readSlot(database, name, on);
  if (slot === undefined) return false;
  await refuseForeign(database, name, slot, on);
  if (slot.lost !== undefined) return false;
  const state = await readCapture(database, name, on);
  return state?.consistentPoint !== undefined;
}

/**
 * The record first, with a new identity and no place; then the slot; then its place. A crash in between leaves a
 * record without a place, and the next one to come makes a new identity again.
 */
async function found(database: Database, name: string, session: Session): Promise<void> {
  const { schema } = database;
  await session.run(
    `INSERT INTO ${schema}.capture (slot, history) VALUES ($1, $2) ON CONFLICT (slot) DO UPDATE
     SET history = excluded.history, consistent_point = NULL, acknowledged = false`,
    [name, database.random.id()],
  );
  crashPoint('capture.after-record-before-slot');
  let slot = await readSlot(database, name, session);
  if (slot?.lost !== undefined) {
    // It holds nothing any more, and only stands in the way of a new one.
    await session.query('SELECT pg_drop_replication_slot($1)', [name]);
    slot = undefined;
  }
  const point =
    slot === undefined ? await create(database, name, session) : await advance(name, session);
  crashPoint('capture.after-slot-before-place');
  // Nothing was captured before: there is nothing that this run of the server could lack.
  await session.run(
    `UPDATE ${schema}.capture SET consistent_point = $2::pg_lsn, proven = ${RUN} WHERE slot = $1`,
    [name, point],
  );
}

async function create(database: Database, name: string, session: Session): Promise<string> {
  // A failover slot is carried along to standbys, where the server can.
  const failover = database.version >= 170_000 ? ', failover => true' : '';
  try {
    const rows = await session.query<{ lsn: string }>(
      `SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput'${failover})`,
      [name],
    );
    return must(rows[0], 'the slot').lsn;
  } catch (error) {
    throw await creationError(database, error);
  }
}

/** Takes up a slot that somebody made: from now on, because what is published was not settled before. */
async function advance(name: string, session: Session): Promise<string> {
  const rows = await session.query<{ lsn: string }>(
    'SELECT end_lsn::text AS lsn FROM pg_replication_slot_advance($1, pg_current_wal_flush_lsn())',
    [name],
  );
  return must(rows[0], 'the place of the slot').lsn;
}

/** What stands in the way of logical replication, with the statement that mends it. */
export async function creationError(database: Database, error: unknown): Promise<unknown> {
  if (isConnectionLost(error)) return error;
  const { where } = database;
  const state = sqlState(error);
  const missing = (what: string, mend: string): TallyError =>
    new TallyError('CAPABILITY_MISSING', { what, where, mend, cause: error });
  const level = await setting(database, 'wal_level');
  if (level !== 'logical')
    return missing(
      `the server does not log what capture reads: wal_level is '${level}'`,
      `run ALTER SYSTEM SET wal_level = 'logical' as a superuser and restart the server (a managed one: set its parameter, such as rds.logical_replication = 1)`,
    );
  if (state === '42501')
    return missing(
      `the user '${await userName(database)}' may not replicate`,
      `run ALTER ROLE "${await userName(database)}" REPLICATION as a superuser (managed: GRANT rds_replication TO it, or what the provider names)`,
    );
  if (state === '53400')
    return missing(
      `all replication slots of the server are taken (max_replication_slots is ${await setting(database, 'max_replication_slots')})`,
      `drop those that nobody uses (SELECT slot_name FROM pg_replication_slots WHERE NOT active; SELECT pg_drop_replication_slot('…')), or raise max_replication_slots and restart the server`,
    );
  if (state === '53300')
    return missing(
      `all connections for replication are taken (max_wal_senders is ${await setting(database, 'max_wal_senders')})`,
      'raise max_wal_senders and restart the server, or end what streams without need',
    );
  return error;
}

async function refuseForeign(
  database: Database,
  name: string,
  slot: Slot,
  on: Queryable,
): Promise<void> {
  const mend = 'give this store another `slot`, or drop that one if nobody needs it';
  const refuse = (what: string): TallyError =>
    new TallyError('CONFIG_INVALID', {
      what: `the replication slot '${name}' ${what}`,
      where: database.where,
      mend,
      details: { slot: name },
    });
  if (slot.plugin === null) throw refuse('is for physical replication');
  if (slot.plugin !== 'pgoutput') throw refuse(`is for the plugin '${slot.plugin}', not pgoutput`);
  const [here] = await on.query<{ name: string }>('SELECT current_database()::text AS name');
  if (slot.database !== here?.name)
    throw refuse(`belongs to the database '${slot.database ?? ''}'`);
  if (slot.temporary) throw refuse('is a temporary one of another session');
}

/** Ends whoever streams from the slot, and waits until it is free. Throws STORE_BUSY, CAPABILITY_MISSING. */
export async function releaseSlot(database: Database, name: string): Promise<void> {
  const deadlineMs = database.clock.monotonicMs() + RELEASE_MS;
  for (;;) {
    const pid = (await readSlot(database, name))?.activePid ?? null;
    if (pid === null) return;
    if (database.clock.monotonicMs() >= deadlineMs)
      throw new TallyError('STORE_BUSY', {
        what: `the replication slot '${name}' stays in use by process ${pid} of the server`,
        where: database.where,
        mend: `run SELECT pg_terminate_backend(${pid}), or look for another application that uses this slot`,
        details: { slot: name, pid },
      });
    await endBackend(database, pid);
    await database.clock.sleep(LOOK_AGAIN_MS);
  }
}

async function endBackend(database: Database, pid: number): Promise<void> {
  try {
    await database.query('SELECT pg_terminate_backend($1)', [pid]);
  } catch (error) {
    if (sqlState(error) !== '42501') throw error;
    throw new TallyError('CAPABILITY_MISSING', {
      what: `another user's process ${pid} holds the replication slot, and this user may not end it`,
      where: database.where,
      mend: `run GRANT pg_signal_backend TO "${await userName(database)}"`,
      cause: error,
    });
  }
}

async function setting(database: Database, name: string): Promise<string> {
  const rows = await database.query<{ value: string }>('SELECT current_setting($1) AS value', [
    name,
  ]);
  return rows[0]?.value ?? '';
}

/** Who we are to the server. */
export async function userName(database: Database): Promise<string> {
  const rows = await database.query<{ name: string }>('SELECT current_user::text AS name');
  return rows[0]?.name ?? '';
}
