import type pg from 'pg';
import { errorText } from '../../../core/errors.ts';
import type { Finding } from '../../../ports/diagnose.ts';
import type { Database } from '../database.ts';
import { sqlState } from '../errors.ts';
import { ageText, fail, ok, setting, sizeText, sqlName, warn } from './finding.ts';
import type { Server } from './server.ts';

/** Less than this is written in minutes: a worker that is restarted may already have lost its slot. */
const KEEP_BYTES_MIN = 1024 ** 3;
/** What an unlimited slot may hold before it is worth a warning of its own. */
const RETAINED_BYTES_MAX = 10 * 1024 ** 3;

/** Settings, rights and room for logical replication. */
export async function checkReplication(
  database: Database,
  server: Server,
  slot: string,
): Promise<readonly Finding[]> {
  return [
    checkWalLevel(server),
    checkRight(server),
    await checkConnection(database, server),
    ...(await checkRoom(database, server, slot)),
    ...checkRetention(server),
    ...(await checkSlot(database, server, slot)),
  ];
}

function checkWalLevel({ settings }: Server): Finding {
  const level = settings['wal_level'] ?? 'unknown';
  if (level === 'logical') return ok('wal_level', level);
  return fail(
    'wal_level',
    `${level}: changes cannot be read from the WAL`,
    `${setting('wal_level', 'logical', 'restart')}: rds.logical_replication = 1, cloudsql.logical_decoding = on, or azure.replication_support = logical`,
  );
}

function checkRight({ replication, user }: Server): Finding {
  if (replication) return ok('replication right', `${user} has it`);
  return fail(
    'replication right',
    `${user} may not replicate`,
    `ALTER ROLE ${sqlName(user)} REPLICATION; (as a superuser; on RDS: GRANT rds_replication TO ${sqlName(user)};)`,
  );
}

/** Opens a connection as the capture does, and closes it: nothing is started on it. */
async function checkConnection(database: Database, server: Server): Promise<Finding> {
  const check = 'replication connection';
  try {
    await using session = await database.connect({ replication: 'database' } as pg.ClientConfig);
    await session.run('IDENTIFY_SYSTEM');
    return ok(check, 'is accepted');
  } catch (error) {
    const state = sqlState(error);
    const said = errorText(error instanceof Error ? (error.cause ?? error) : error, 300);
    if (state === '42501')
      return fail(
        check,
        `is refused: ${said}`,
        server.replication
          ? 'see what the server says; the role has the right'
          : 'grant the replication right above',
      );
    if (state === '53300')
      return fail(
        check,
        `is refused: ${said}`,
        `${setting('max_wal_senders', '20', 'restart')}, or end replication clients that are not used any more`,
      );
    if (state?.startsWith('28') === true)
      return fail(
        check,
        `is refused: ${said}`,
        `add a line to pg_hba.conf such as: host ${server.databaseName} ${server.user} ADDRESS scram-sha-256; then SELECT pg_reload_conf(); (whoever runs the server)`,
      );
    return fail(
      check,
      `does not work: ${said}`,
      'give the URL of the server itself; most poolers let no replication through',
    );
  }
}

async function checkRoom(
  database: Database,
  { settings }: Server,
  slot: string,
): Promise<readonly Finding[]> {
  const [row] = await database.query<{
    readonly slots: number;
    readonly present: boolean;
    readonly active: boolean;
    readonly senders: number;
  }>(
    `SELECT count(*)::int AS slots, coalesce(bool_or(slot_name = $1), false) AS present,
       coalesce(bool_or(slot_name = $1 AND active), false) AS active,
       (SELECT count(*)::int FROM pg_stat_replication) AS senders
     FROM pg_replication_slots`,
    [slot],
  );
  const { slots = 0, present = false, active = false, senders = 0 } = row ?? {};
  const room = (name: string, used: number, own: number, what: string): Finding => {
    const most = Number(settings[name] ?? 0);
    const free = most - used;
    const found = `${used} of ${most} in use`;
    const remedy = `${setting(name, String(most + 10), 'restart')}, or ${what}`;
    if (free < own) return fail(name, `${found}: none is left for the capture`, remedy);
    if (free < own + 1)
      return warn(name, `${found}: none is left for a snapshot while the capture runs`, remedy);
    return ok(name, found);
  };
  return [
    room(
      'max_replication_slots',
      slots,
      present ? 0 : 1,
      "drop a slot that nobody needs: SELECT pg_drop_replication_slot('NAME');",
    ),
    room(
      'max_wal_senders',
      senders,
      active ? 0 : 1,
      'end replication clients that are not used any more',
    ),
  ];
}

/** How much WAL a slot may hold, and for how long: neither a full disk nor a silent loss. */
function checkRetention({ settings }: Server): readonly Finding[] {
  const findings: Finding[] = [];
  const keepMb = Number(settings['max_slot_wal_keep_size'] ?? -1);
  const keepBytes = keepMb * 1024 * 1024;
  const limit = setting('max_slot_wal_keep_size', '50GB', 'reload');
  const advice = `${limit}; take what the disk can spare and the longest stop of a worker writes`;
  if (keepMb < 0)
    findings.push(
      warn(
        'max_slot_wal_keep_size',
        '-1: while no worker runs, WAL for the slot is kept without a limit, until the disk is full',
        advice,
      ),
    );
  else if (keepBytes < KEEP_BYTES_MIN)
    findings.push(
      warn(
        'max_slot_wal_keep_size',
        `${sizeText(keepBytes)}: a worker that stops for some minutes loses its slot, and needs a new snapshot`,
        advice,
      ),
    );
  else findings.push(ok('max_slot_wal_keep_size', sizeText(keepBytes)));
  findings.push(
    settings['wal_sender_timeout'] === '0'
      ? warn(
          'wal_sender_timeout',
          '0: the server never gives up on a worker whose machine is gone; its slot stays taken',
          setting('wal_sender_timeout', '60s', 'reload'),
        )
      : ok('wal_sender_timeout', `${settings['wal_sender_timeout'] ?? '?'} ms`),
  );
  const idleS = Number(settings['idle_replication_slot_timeout'] ?? 0);
  if (idleS > 0)
    findings.push(
      warn(
        'idle_replication_slot_timeout',
        `a worker that is stopped for ${ageText(idleS * 1_000)} loses its slot, and needs a new snapshot`,
        `${setting('idle_replication_slot_timeout', '0', 'reload')}; max_slot_wal_keep_size bounds the disk instead`,
      ),
    );
  return findings;
}

interface SlotRow {
  readonly plugin: string | null;
  readonly type: string;
  readonly database: string | null;
  readonly temporary: boolean;
  readonly status: string | null;
  readonly reason: string | null;
  readonly retained: number | null;
}

async function checkSlot(
  database: Database,
  server: Server,
  slot: string,
): Promise<readonly Finding[]> {
  const here = server.recovering ? 'pg_last_wal_replay_lsn()' : 'pg_current_wal_lsn()';
  const [row] = await database.query<SlotRow>(
    `SELECT plugin::text, slot_type AS type, database::text, temporary, wal_status AS status,
       to_jsonb(s)->>'invalidation_reason' AS reason, (${here} - restart_lsn)::int8 AS retained
     FROM pg_replication_slots s WHERE slot_name = $1`,
    [slot],
  );
  const check = `slot ${slot}`;
  if (row === undefined) return [ok(check, 'is made at the first start')];
  const drop = `SELECT pg_drop_replication_slot('${slot}'); (as a role with REPLICATION or a superuser)`;
  if (row.type !== 'logical' || row.plugin !== 'pgoutput')
    return [
      fail(
        check,
        `is ${row.type === 'logical' ? `of the plugin ${row.plugin ?? '?'}` : 'a physical one'}, so somebody else's`,
        `give the store a slot of its own with the option slot; or, if nobody needs this one: ${drop}`,
      ),
    ];
  if (row.database !== server.databaseName)
    return [
      fail(
        check,
        `is of the database ${row.database ?? '?'}: names of slots are shared by all databases of a server`,
        `give the store a slot of its own with the option slot; or, in ${row.database ?? 'that database'}: ${drop}`,
      ),
    ];
  if (row.status === 'lost' || row.reason !== null)
    return [
      fail(
        check,
        `is invalidated${row.reason === null ? '' : ` (${row.reason})`}: changes that were not captured are gone from the WAL`,
        `${drop}; then start the worker, and run tally resnapshot when it reports HISTORY_LOST`,
      ),
    ];
  const found = `is there; retains ${sizeText(row.retained ?? 0)}`;
  if (row.status === 'unreserved')
    return [
      warn(
        check,
        `${found}, which is over max_slot_wal_keep_size: it is lost at one of the next checkpoints`,
        `start the worker now, or ${setting('max_slot_wal_keep_size', '50GB', 'reload')}`,
      ),
    ];
  const keepBytes = Number(server.settings['max_slot_wal_keep_size'] ?? -1) * 1024 * 1024;
  if (keepBytes > 0 && (row.retained ?? 0) > keepBytes / 2)
    return [
      warn(
        check,
        `${found}, of ${sizeText(keepBytes)} (max_slot_wal_keep_size) after which it is lost`,
        `start the worker now, or ${setting('max_slot_wal_keep_size', '50GB', 'reload')}`,
      ),
    ];
  if ((row.retained ?? 0) > RETAINED_BYTES_MAX)
    return [
      warn(
        check,
        `${found} of WAL`,
        `start the worker; if nobody needs the slot any more: ${drop}`,
      ),
    ];
  return [ok(check, found)];
}
