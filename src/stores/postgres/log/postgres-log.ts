import { checkNumber, checkOptions, checkString } from '../../../core/options.ts';
import type { Log } from '../../../ports/log.ts';
import type { StoreContext } from '../../../ports/store.ts';
import { openDatabase } from '../database.ts';
import { ANSWER_TIMEOUT_MS, checkEncoding } from '../ledger/session.ts';
import { checkConnection, connectionOptionNames, type ConnectionOptions } from '../options.ts';
import { LaneLog } from './lane-log.ts';
import { LOG_SCHEMA_VERSION, logSchema } from './schema.ts';

const LANE_CHARACTERS_MAX = 500;
const BYTES_MIN = 1_024;
/** Readers, release and status of one lane; the appender and who listens have a connection of their own each. */
const POOL_MAX = 3;

/** How to reach the server, and which lane's log it is. */
export interface PostgresLogOptions extends ConnectionOptions {
  /** The lane, which is the name of the store whose changes it holds. */
  readonly lane: string;
  /** The most that the log holds; beyond, appends fail with LOG_FULL. Unbounded if not given. */
  readonly bytesMax?: number;
}

/** What {@link postgresLog} returns: how to open the log, without opening it. */
export interface PostgresLogDefinition {
  /** Opens the log. Throws STORE_UNREACHABLE, DRIVER_MISSING, CONFIG_INVALID or CAPABILITY_MISSING. */
  open(context: StoreContext): Promise<Log>;
}

/**
 * A log in tables of a PostgreSQL database (schema `_tally`), for workers on any number of machines: one appends at a
 * time, and opening an appender fences every older one in the transactions themselves. Concurrent appends share one
 * transaction, and are as durable as the server's commits are (`synchronous_commit` is raised to `on` where it is
 * off). Readers of any process are woken by NOTIFY; should that be lost, they look every two seconds.
 *
 * Records are kept in rows of about 64 KiB, and released in whole rows. Where the connection breaks before its
 * answer an append rejects with COMMIT_UNKNOWN, and its appender is at its end: the tail of the next one says what
 * is there.
 *
 * Needs sessions: a pooler in between that changes servers at each transaction carries no NOTIFY.
 *
 * Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 *
 * @example
 * tally({ log: (lane) => postgresLog({ url: 'postgres://tally@db/tally', lane }), … })
 */
export function postgresLog(options: PostgresLogOptions): PostgresLogDefinition {
  checkOptions(options, ['lane', 'bytesMax', ...connectionOptionNames], 'log');
  const { lane, bytesMax, ...connection } = options;
  checkConnection(connection, 'log');
  checkString(lane, 'log.lane', { charactersMax: LANE_CHARACTERS_MAX });
  if (bytesMax !== undefined)
    checkNumber(bytesMax, 'log.bytesMax', { min: BYTES_MIN, integer: true });
  return {
    open: async (context) => {
      const answerTimeoutMs = connection.pool?.query_timeout ?? ANSWER_TIMEOUT_MS;
      const database = await openDatabase(context, {
        ...connection,
        pool: { max: POOL_MAX, ...connection.pool, query_timeout: answerTimeoutMs },
      });
      try {
        await checkEncoding(database);
        await database.ensure('log', LOG_SCHEMA_VERSION, logSchema(database.schema));
        return new LaneLog(database, { lane, bytesMax: bytesMax ?? Infinity, answerTimeoutMs });
      } catch (error) {
        await database.close();
        throw error;
      }
    },
  };
}
