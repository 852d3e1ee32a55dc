import { TallyError } from '../../../core/errors.ts';
import type { Database } from '../database.ts';
import { ReplicationConnection, type ExportedSnapshot } from './replication/connection.ts';
import { creationError } from './slot.ts';

/**
 * Exports the view of a new temporary slot. That is the one way to an exact place: transactions become visible in
 * another order than their commits are written, so that no place read beside an ordinary snapshot is right. Waits
 * for the transactions that are under way, until `signal` aborts. Throws CAPABILITY_MISSING, STORE_UNREACHABLE, ABORTED.
 */
export async function exportSnapshot(
  database: Database,
  signal: AbortSignal,
): Promise<ExportedSnapshot & AsyncDisposable> {
  let connection: ReplicationConnection | undefined;
  const giveUp = (): void => connection?.destroy();
  signal.addEventListener('abort', giveUp);
  try {
    connection = await ReplicationConnection.open(database);
    if (signal.aborted) throw aborted(database);
    const name = `tally_view_${database.random.id().replaceAll('-', '').slice(0, 16)}`;
    const exported = await connection.createExportedSnapshot(name);
    // The slot ends with its connection.
    return { ...exported, [Symbol.asyncDispose]: () => exported.close() };
  } catch (error) {
    await connection?.close();
    if (signal.aborted) throw aborted(database);
    throw await creationError(database, error);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

function aborted({ where }: Database): TallyError {
  return new TallyError('ABORTED', { what: 'the snapshot was given up before it began', where });
}

/** Where the server's history left timeline `before` on the way to `timeline`; undefined if it did not. */
export async function forkOf(
  database: Database,
  timeline: number,
  before: number,
): Promise<number | undefined> {
  await using connection = await ReplicationConnection.open(database);
  const forks = await connection.timelineHistory(timeline);
  return forks.find((fork) => fork.timeline === before)?.endLsn;
}
