import { TallyError } from '../../../core/errors.ts';
import type { Queryable, Session } from '../database.ts';

/** How long the server may take to end a session. */
const END_MS = 5_000;

/** One session at the server; a process id alone is given out again. */
export interface SessionIdentity {
  readonly pid: number;
  readonly started: string;
}

/** Who this session is. */
export async function identify(session: Session): Promise<SessionIdentity | undefined> {
  const [identity] = await session.query<SessionIdentity>(
    `SELECT pid, extract(epoch FROM backend_start)::text AS started
     FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
  );
  return identity;
}

/**
 * Ends, at the server, a session that left a statement unanswered: from then on it has either been committed, for all
 * to see, or never will be. Otherwise: 1. a step is held up in the network, and given up  2. its caller reads that it
 * did not happen, and commits another  3. the network heals, and delivers the first one: it overwrites the second.
 *
 * Throws STORE_UNREACHABLE, or STORE_BUSY if the server does not end it in time.
 */
export async function endAtServer(
  over: Queryable,
  session: SessionIdentity,
  where: string,
): Promise<void> {
  const [row] = await over.query<{ ended: boolean }>(
    `SELECT pg_terminate_backend(pid, $3) AS ended FROM pg_stat_activity
     WHERE pid = $1 AND extract(epoch FROM backend_start)::text = $2`,
    [session.pid, session.started, END_MS],
  );
  if (row === undefined || row.ended) return;
  throw new TallyError('STORE_BUSY', {
    what: 'the server does not end a session of the ledger whose last steps are in doubt',
    where,
    mend: 'look what the session waits for in pg_stat_activity; it is tried again',
    details: { pid: session.pid },
  });
}
