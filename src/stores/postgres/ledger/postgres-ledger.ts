import { checkOptions } from '../../../core/options.ts';
import type { LedgerDefinition } from '../../../ports/ledger.ts';
import { openDatabase } from '../database.ts';
import { checkConnection, connectionOptionNames, type ConnectionOptions } from '../options.ts';
import { GroupLedger } from './group-ledger.ts';
import { LEDGER_SCHEMA_VERSION, ledgerSchema } from './schema.ts';
import { ANSWER_TIMEOUT_MS, checkEncoding } from './session.ts';

/** Reads come one by one; what shares a commit goes over a connection of its own. */
const POOL_MAX = 4;

/** How to reach the server. `schema`: ledgers of several applications in one database need one each. */
export type PostgresLedgerOptions = ConnectionOptions;

/**
 * A ledger in tables of a PostgreSQL database (schema `_tally`), for workers on any number of machines. A step that
 * resolved is as durable as the server's commits are (`synchronous_commit` is raised to `on` where it is off), and
 * all steps of a process that wait at the same time share one statement and one commit. Time is the caller's: the
 * clock of the server is not asked.
 *
 * Steps of different processes wait for each other only where they touch the same records or leases. Where a
 * connection breaks before its answer, its steps reject with COMMIT_UNKNOWN: read before deciding. The ledger
 * connects again by itself; until it can, steps reject with STORE_UNREACHABLE. Text is limited (names 1 KiB, values
 * 64 MiB: ROW_TOO_LARGE) and must be well-formed (VALUE_UNSUPPORTED); more than 100 000 waiting steps are refused
 * with STORE_BUSY.
 *
 * Needs sessions (a pooler in between that changes servers at each transaction has none to give), a database that is
 * encoded in UTF8, and a role that may create the schema, or that was given it with its
 * tables. Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 *
 * @example
 * const ledger = await postgresLedger({ url: 'postgres://tally@db/tally' }).open(context);
 * await ledger.commit([{ kind: 'put', space: 'greetings', key: 'first', value: 'hello' }]);
 */
export function postgresLedger(options: PostgresLedgerOptions): LedgerDefinition {
  checkOptions(options, connectionOptionNames, 'ledger');
  checkConnection(options, 'ledger');
  return {
    system: 'postgres',
    open: async (context) => {
      const answerTimeoutMs = options.pool?.query_timeout ?? ANSWER_TIMEOUT_MS;
      const database = await openDatabase(context, {
        ...options,
        pool: { max: POOL_MAX, ...options.pool, query_timeout: answerTimeoutMs },
      });
      try {
        await checkEncoding(database);
        await database.ensure('ledger', LEDGER_SCHEMA_VERSION, ledgerSchema(database.schema));
        return new GroupLedger(database, answerTimeoutMs);
      } catch (error) {
        await database.close();
        throw error;
      }
    },
  };
}
