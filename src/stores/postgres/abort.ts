import type pg from 'pg';

/** To reach a server that answers at all; one that does not is left by closing the connection. */
const CANCEL_WITHIN_MS = 5_000;

/**
 * Runs `work` with a client of the pool, and stops it on the server when `signal` aborts: what runs is cancelled from a
 * connection of its own, since the pool may have none left, and the connection is closed. What `work` asks of the client
 * from then on throws the signal's reason; only what it had queued on the client before is done.
 * If the server cannot be reached within 5 s, the connection is closed without. Rejects with what `work` rejects
 * with, SQLSTATE 57014 for a statement that was cancelled, and with the signal's reason if it had aborted before.
 *
 * Does not work behind a pooler that shares connections (PgBouncer): the process that it names is not the server's.
 */
export async function cancellable<Result>(
  pool: pg.Pool,
  signal: AbortSignal,
  work: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  signal.throwIfAborted();
  const client = await pool.connect();
  let cancelled: Promise<void> | undefined;
  let well = false;
  const onAbort = (): void => {
    cancelled ??= cancel(pool, client, signal);
  };
  // Nobody listens to a client that is lent: a connection that is lost would end the process. Once, not once a failure.
  client.off('error', ignore);
  client.on('error', ignore);
  try {
    // The answer of `connect` may have come after the time was over.
    signal.throwIfAborted();
    signal.addEventListener('abort', onAbort);
    const result = await work(client);
    well = true;
    return result;
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not before the cancel has arrived, and never to the pool again: it would hit the next one's statement.
    await cancelled;
    client.release(cancelled !== undefined);
    if (well) client.off('error', ignore);
  }
}

/** What was lost rejects the statement. */
function ignore(): void {}

async function cancel(pool: pg.Pool, client: pg.PoolClient, signal: AbortSignal): Promise<void> {
  const { processID } = client as unknown as { readonly processID: number };
  const query = client.query.bind(client) as (text: string) => Promise<unknown>;
  // At once: the cancelled statement may end, and what follows it be sent, before the cancel is answered.
  const gone = new DOMException('nobody waits for what is asked here', 'AbortError');
  const reason = signal.reason instanceof Error ? signal.reason : gone;
  client.query = (): never => {
    throw reason;
  };
  try {
    await cancelBackend(pool, processID);
    // The driver sends one statement at a time: this one goes when the cancelled one has ended.
    await query('SELECT 1');
  } catch {
    // Whether the server or the statement is not to be reached, what is left is to close the connection.
  }
  await (client as unknown as pg.Client).end().catch(() => undefined);
}

async function cancelBackend(pool: pg.Pool, processID: number): Promise<void> {
  const { Client } = pool as unknown as { readonly Client: new (config: object) => pg.Client };
  const { options } = pool;
  const canceller = new Client({
    ...options,
    // The pool hides it from being listed.
    password: options.password,
    connectionTimeoutMillis: CANCEL_WITHIN_MS,
    query_timeout: CANCEL_WITHIN_MS,
  });
  canceller.on('error', ignore);
  try {
    await canceller.connect();
    await canceller.query('SELECT pg_cancel_backend($1)', [processID]);
  } finally {
    await canceller.end().catch(() => undefined);
  }
}
