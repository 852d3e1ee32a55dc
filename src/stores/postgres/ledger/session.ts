import type { Duplex } from 'node:stream';
import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Database, Session } from '../database.ts';

/**
 * How long an answer is waited for, unless `pool.query_timeout` says otherwise. A connection whose other end is gone without a word would else be waited on for
 * hours, by a worker that lost its lease long ago; nothing that the ledger or the log asks takes nearly as long.
 */
export const ANSWER_TIMEOUT_MS = 60_000;

/**
 * What the sessions of the ledger and the log rely on, whatever the server or the role is set to: an answered COMMIT
 * is on the disk, one statement sees what was committed before it, and the plans are those by index, which are right
 * for few rows at whatever size the tables were when the plan was made.
 */
const SETTINGS = `
SET SESSION default_transaction_isolation = 'read committed';
SET SESSION default_transaction_read_only = off;
SET SESSION enable_seqscan = off;
SET SESSION enable_hashjoin = off;
SET SESSION enable_mergejoin = off;
SET SESSION jit = off;
SET SESSION idle_in_transaction_session_timeout = '10s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
`;

/** How long the other end may take to say goodbye before its connection is dropped. */
const FAREWELL_MS = 2_000;

/** Closes a connection, whether or not there is still somebody at its other end. */
export async function endSession(session: Session, clock: Clock): Promise<void> {
  const { stream } = (session.client as unknown as { connection: { stream: Duplex } }).connection;
  const cancel = clock.after(FAREWELL_MS, () => stream.destroy());
  await session.close();
  cancel();
}

/** Opens a connection of its own that commits durably, and that is given up when it does not answer in time. */
export async function durableSession(
  database: Database,
  answerTimeoutMs: number,
): Promise<Session> {
  const session = await database.connect({ query_timeout: answerTimeoutMs });
  try {
    await session.run(SETTINGS);
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** Refuses a database that cannot hold every text. */
export async function checkEncoding(database: Database): Promise<void> {
  const [row] = await database.query<{ encoding: string }>(
    `SELECT current_setting('server_encoding') AS encoding`,
  );
  const encoding = row?.encoding ?? '';
  if (encoding === 'UTF8' || encoding === 'SQL_ASCII') return;
  throw new TallyError('CONFIG_INVALID', {
    what: `the database is encoded in ${encoding}, which does not have every character`,
    where: database.where,
    mend: "make a database for it: CREATE DATABASE tally ENCODING 'UTF8' TEMPLATE template0",
    details: { encoding },
  });
}
