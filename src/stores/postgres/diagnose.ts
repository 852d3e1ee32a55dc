import type { Diagnose, Finding, StoreUse } from '../../ports/diagnose.ts';
import type { Database } from './database.ts';
import { fail, ok, sqlName, warn } from './doctor/finding.ts';
import { checkOutbox } from './doctor/outbox.ts';
import { checkReplication } from './doctor/replication.ts';
import {
  checkOwnSchema,
  checkServer,
  checkTransactions,
  readServer,
  type Server,
} from './doctor/server.ts';
import { checkTables, checkTargets } from './doctor/tables.ts';

/** The names that the store uses, as its options say. */
export interface DiagnoseOptions {
  readonly slot: string;
  readonly publication: string;
  /** The store that this one is a read replica of. */
  readonly replicaOf?: string;
  /** The outbox that is read by its own sequence; then slot and publication are not used. */
  readonly outbox?: string;
  /** Whether it is an event store, which needs neither. */
  readonly events?: true;
}

/**
 * Looks at a server as the application would use it, with its own user, and changes nothing. Each finding that is
 * not `ok` names the statement or setting that mends it, and who may run it. Throws STORE_UNREACHABLE.
 */
export function openDiagnose(database: Database, options: DiagnoseOptions): Diagnose {
  return async (use) => {
    const server = await readServer(database);
    return [
      ...(await checkServer(database, server)),
      ...(await checkReplica(database, server, options)),
      ...(await checkCapture(database, server, use, options)),
      ...(await checkTargets(database, server, use.targets)),
      ...(await checkOwnSchema(database, server, use)),
    ];
  };
}

async function checkCapture(
  database: Database,
  server: Server,
  { tables }: StoreUse,
  { slot, publication, outbox, events }: DiagnoseOptions,
): Promise<readonly Finding[]> {
  if (tables.length === 0) return [];
  if (server.recovering)
    return [
      fail(
        'role of the server',
        'is a standby: capture needs the server that takes the writes',
        'point the URL to the primary; to read from a standby, declare it as a store of its own with replicaOf',
      ),
    ];
  // Its tables are the coordinator's own: whether it may make them is asked beside.
  if (events === true) return [];
  if (outbox !== undefined) return checkOutbox(database, server, outbox, tables);
  return [
    ...(await checkReplication(database, server, slot)),
    ...(await checkTables(database, server, publication, tables)),
    ...(await checkTransactions(database)),
  ];
}

/** Whether reads from a replica can wait for evidence. */
async function checkReplica(
  database: Database,
  server: Server,
  { replicaOf }: DiagnoseOptions,
): Promise<readonly Finding[]> {
  if (replicaOf === undefined) return [];
  const check = `replica of ${replicaOf}`;
  if (!server.recovering)
    return [
      warn(
        check,
        'takes writes: it is no standby, or was promoted',
        `point the URL to a standby of ${replicaOf}, or leave replicaOf out`,
      ),
    ];
  const [row] = await database.query<{ readonly stats: boolean }>(
    `SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS stats`,
  );
  if (row?.stats !== true && !server.replication)
    return [
      fail(
        check,
        `${server.user} may not see which timeline it follows: every wait for evidence would be incomparable`,
        `GRANT pg_read_all_stats TO ${sqlName(server.user)}; (on the primary, as a superuser)`,
      ),
    ];
  const [receiver] = await database.query(`SELECT pid FROM pg_stat_wal_receiver`);
  return receiver === undefined
    ? [
        warn(
          check,
          'receives nothing: it is not connected to its primary, or lives on archived WAL',
          'check primary_conninfo of the standby and the log of its server',
        ),
      ]
    : [ok(check, 'follows its primary')];
}
