import { must } from '../../core/errors.ts';
import type { Vital, Vitals } from '../../ports/vitals.ts';
import type { Cells, Database } from './database.ts';
import { sqlState } from './errors.ts';

/** What is said in place of a value that the user of the connection may not see. */
const HIDDEN = 'not visible to this user';

/** The SQLSTATE of a right that is missing. */
const FORBIDDEN = '42501';

interface Group {
  readonly sql: string;
  readonly values?: readonly string[];
  /** The names that stand there with {@link HIDDEN} if the whole group may not be read. */
  readonly names: readonly string[];
  readonly measures: (row: Cells) => readonly Vital[];
}

/**
 * What PostgreSQL says about itself: WAL positions, our slot and what it retains, replication clients, the oldest
 * transaction, locks, connections, size. Reads only views and functions that any role may read; what this role is
 * not shown (sessions of others, without pg_read_all_stats) is said so in place of its value. `slot` is the slot of
 * the capture, if there is one. Throws STORE_UNREACHABLE.
 */
export async function readVitals(database: Database, slot?: string): Promise<Vitals> {
  const [row] = await database.query(
    `SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS recovering`,
  );
  const server = must(row, 'the version of the server');
  const inRecovery = server['recovering'] === true;
  const groups = [
    identityGroup,
    inRecovery ? standbyGroup : primaryGroup,
    ...(slot === undefined ? [] : [slotGroup(slot, inRecovery)]),
    otherSlotsGroup(slot ?? '', inRecovery),
    ...activityGroups,
    replicationGroup(inRecovery),
    sizeGroup,
  ];
  const measures: Vital[] = [
    {
      name: 'in_recovery',
      value: inRecovery ? 'yes' : 'no',
      about: 'yes: a standby, which takes no writes.',
    },
  ];
  // One after the other: measuring must not take half the pool from the application.
  for (const group of groups) measures.push(...(await readGroup(database, group)));
  return { system: 'postgres', version: said(server['version']), measures };
}

async function readGroup(database: Database, group: Group): Promise<readonly Vital[]> {
  try {
    const rows = await database.query(group.sql, group.values);
    return group.measures(rows[0] ?? {});
  } catch (error) {
    if (sqlState(error) !== FORBIDDEN) throw error;
    return group.names.map((name) => ({ name, value: HIDDEN }));
  }
}

/** The WAL position that distances are measured from. */
function here(inRecovery: boolean): string {
  return inRecovery ? 'pg_last_wal_replay_lsn()' : 'pg_current_wal_lsn()';
}

const identityGroup: Group = {
  sql: `SELECT system_identifier::text AS system, CASE WHEN pg_is_in_recovery() THEN
        coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()))
      ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END AS timeline
    FROM pg_control_system()`,
  names: ['system_identifier', 'timeline'],
  measures: (row) => [
    text(row['system'], 'system_identifier', 'Names the cluster; copies of it have the same one.'),
    {
      name: 'timeline',
      value: number(row['timeline']),
      unit: 'count',
      about: 'Grows with each promotion and each point-in-time recovery.',
    },
  ],
};

const primaryGroup: Group = {
  sql: `SELECT pg_current_wal_insert_lsn()::text AS inserted, pg_current_wal_flush_lsn()::text AS flushed,
      (pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn())::int8 AS unflushed`,
  names: ['wal_insert_lsn', 'wal_flush_lsn', 'wal_unflushed_bytes'],
  measures: (row) => [
    position(row['inserted'], 'wal_insert_lsn', 'Where the next WAL record goes.'),
    position(row['flushed'], 'wal_flush_lsn', 'Up to here a power failure loses nothing.'),
    bytes(
      row['unflushed'],
      'wal_unflushed_bytes',
      'WAL that is not on disk yet: work of open transactions, or commits with synchronous_commit off.',
    ),
  ],
};

const standbyGroup: Group = {
  sql: `SELECT pg_last_wal_replay_lsn()::text AS replayed, pg_last_wal_receive_lsn()::text AS received,
      greatest(pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn(), 0)::int8 AS unreplayed,
      CASE WHEN pg_is_wal_replay_paused() THEN 'yes' ELSE 'no' END AS paused,
      (extract(epoch FROM now() - pg_last_xact_replay_timestamp()) * 1000)::int8 AS since`,
  names: ['wal_replay_lsn', 'wal_receive_lsn', 'wal_unreplayed_bytes', 'replay_paused'],
  measures: (row) => [
    position(
      row['replayed'],
      'wal_replay_lsn',
      'Readers of this standby see everything up to here.',
    ),
    position(row['received'], 'wal_receive_lsn', 'Received and on the disk of this standby.'),
    bytes(row['unreplayed'], 'wal_unreplayed_bytes', 'Received, and not visible to readers yet.'),
    text(
      row['paused'],
      'replay_paused',
      'yes: nothing becomes visible until pg_wal_replay_resume().',
    ),
    ms(
      row['since'],
      'last_replayed_commit_age_ms',
      'Age of the newest commit that was replayed; it also grows while nobody writes.',
    ),
  ],
};

function slotGroup(slot: string, inRecovery: boolean): Group {
  return {
    sql: `SELECT s.active, s.confirmed_flush_lsn::text AS confirmed, s.restart_lsn::text AS restart,
        (${here(inRecovery)} - s.restart_lsn)::int8 AS retained,
        (${here(inRecovery)} - s.confirmed_flush_lsn)::int8 AS behind,
        s.wal_status AS status, s.safe_wal_size AS safe
      FROM (SELECT $1::text AS name) AS asked LEFT JOIN pg_replication_slots s ON s.slot_name = asked.name`,
    values: [slot],
    names: ['slot'],
    measures: (row) =>
      row['active'] === null
        ? [
            {
              name: 'slot',
              value: 'absent',
              about: `The slot ${slot} of the capture is not there.`,
            },
          ]
        : [
            { name: 'slot', value: slot, about: 'The replication slot of the capture.' },
            text(
              row['active'] === true ? 'yes' : 'no',
              'slot_active',
              'Whether a capture is connected.',
            ),
            position(
              row['confirmed'],
              'slot_confirmed_flush_lsn',
              'Everything before it is durable in the log.',
            ),
            position(
              row['restart'],
              'slot_restart_lsn',
              'The oldest WAL that is kept for the slot.',
            ),
            bytes(row['behind'], 'slot_lag_bytes', 'WAL written since what the log holds.'),
            bytes(row['retained'], 'slot_retained_bytes', 'WAL kept on disk for the slot.'),
            text(
              row['status'] ?? 'unknown',
              'slot_wal_status',
              'reserved and extended are well; unreserved is about to be lost; lost means a new snapshot.',
            ),
            row['safe'] === null
              ? text('unlimited', 'slot_safe_wal_size', 'max_slot_wal_keep_size sets no limit.')
              : bytes(
                  row['safe'],
                  'slot_safe_wal_size',
                  'WAL that can be written until the slot may be invalidated.',
                ),
          ],
  };
}

function otherSlotsGroup(slot: string, inRecovery: boolean): Group {
  return {
    sql: `SELECT count(*)::int AS slots, max(${here(inRecovery)} - restart_lsn)::int8 AS retained
      FROM pg_replication_slots WHERE slot_name <> $1`,
    values: [slot],
    names: ['other_slots', 'other_slots_retained_bytes_max'],
    measures: (row) => [
      count(row['slots'], 'other_slots', 'Replication slots that are not of this capture.'),
      bytes(
        row['retained'] ?? 0,
        'other_slots_retained_bytes_max',
        'WAL that the furthest behind of them keeps on disk.',
      ),
    ],
  };
}

const activityGroups: readonly Group[] = [
  {
    // Sessions of other roles are listed, but without their transactions, unless one has pg_read_all_stats.
    sql: `SELECT a.*, (SELECT count(*)::int FROM pg_stat_activity WHERE query = '<insufficient privilege>' AND datid IS NOT NULL) AS hidden
      FROM (SELECT 1) AS one LEFT JOIN LATERAL (
        SELECT pid, state, (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::int8 AS age
        FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()
          AND (backend_type IS NULL OR backend_type NOT IN ('autovacuum worker', 'walsender'))
        ORDER BY xact_start LIMIT 1) AS a ON true`,
    names: ['oldest_transaction_age_ms'],
    measures: (row) => [
      ms(
        row['age'] ?? 0,
        'oldest_transaction_age_ms',
        'The longest open transaction. It holds back vacuum, and the snapshot of a new slot waits for its end.',
      ),
      ...(row['pid'] === null
        ? []
        : [
            text(
              `${said(row['pid'])} ${said(row['state'] ?? '')}`.trim(),
              'oldest_transaction_session',
              'Its process id and what it does.',
            ),
          ]),
      ...(Number(row['hidden']) === 0
        ? []
        : [
            count(
              row['hidden'],
              'sessions_hidden',
              'Sessions of other users whose transactions this user may not see; GRANT pg_read_all_stats shows them.',
            ),
          ]),
    ],
  },
  {
    sql: `SELECT (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - prepared) * 1000), 0)::int8 FROM pg_prepared_xacts) AS prepared,
        (SELECT count(*)::int FROM pg_locks WHERE NOT granted) AS waiting,
        (SELECT count(*)::int FROM pg_stat_activity WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') AS used,
        current_setting('max_connections')::int AS most`,
    names: ['oldest_prepared_age_ms', 'locks_waited_for', 'connections', 'max_connections'],
    measures: (row) => [
      ms(
        row['prepared'],
        'oldest_prepared_age_ms',
        'The oldest prepared transaction; it holds on like an open one, and survives restarts.',
      ),
      count(row['waiting'], 'locks_waited_for', 'Lock requests that are not granted.'),
      count(row['used'], 'connections', 'Sessions of clients.'),
      count(row['most'], 'max_connections'),
    ],
  },
];

function replicationGroup(inRecovery: boolean): Group {
  return {
    sql: `SELECT count(*)::int AS clients, count(*) FILTER (WHERE state IS NULL)::int AS hidden,
        max(${here(inRecovery)} - coalesce(replay_lsn, flush_lsn))::int8 AS bytes,
        (max(extract(epoch FROM replay_lag)) * 1000)::int8 AS lag
      FROM pg_stat_replication`,
    names: ['replication_clients', 'replication_lag_bytes_max', 'replication_lag_ms_max'],
    measures: (row) => {
      const hidden = Number(row['hidden']) > 0 && row['bytes'] === null;
      return [
        count(row['clients'], 'replication_clients', 'Standbys and captures that are connected.'),
        hidden
          ? text(HIDDEN, 'replication_lag_bytes_max')
          : bytes(
              row['bytes'] ?? 0,
              'replication_lag_bytes_max',
              'How far the furthest behind of them is.',
            ),
        hidden
          ? text(HIDDEN, 'replication_lag_ms_max')
          : ms(
              row['lag'] ?? 0,
              'replication_lag_ms_max',
              'How long ago what it last replayed was flushed here; 0 while nothing is written.',
            ),
      ];
    },
  };
}

const sizeGroup: Group = {
  sql: `SELECT pg_database_size(current_database())::int8 AS size,
      (SELECT coalesce(sum(n_dead_tup), 0)::int8 FROM pg_stat_user_tables) AS dead,
      (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS age`,
  names: ['database_bytes', 'dead_tuples', 'xid_age'],
  measures: (row) => [
    bytes(row['size'], 'database_bytes', 'All tables and indexes of this database.'),
    {
      name: 'dead_tuples',
      value: number(row['dead']),
      unit: 'rows',
      about: 'Old versions of rows that vacuum has not removed, as estimated.',
    },
    count(
      row['age'],
      'xid_age',
      'Transactions since the oldest one that is not frozen; writes stop near two thousand million.',
    ),
  ],
};

/** A cell of a statement above: text or a number. */
function said(value: unknown): string {
  return typeof value === 'string' ? value : String(Number(value));
}

function number(value: unknown): number {
  return Number(value ?? 0);
}

function text(value: unknown, name: string, about?: string): Vital {
  return { name, value: said(value), ...(about === undefined ? {} : { about }) };
}

function position(value: unknown, name: string, about: string): Vital {
  return { name, value: said(value ?? 'none'), unit: 'position', about };
}

function bytes(value: unknown, name: string, about: string): Vital {
  return { name, value: number(value), unit: 'bytes', about };
}

function ms(value: unknown, name: string, about: string): Vital {
  return { name, value: number(value), unit: 'ms', about };
}

function count(value: unknown, name: string, about?: string): Vital {
  return {
    name,
    value: number(value),
    unit: 'count',
    ...(about === undefined ? {} : { about }),
  };
}
