import { must } from '../../../core/errors.ts';
import type { Database } from '../database.ts';
import { fencedOut } from '../source/capture-state.ts';

/** What the coordinator keeps of an event store. */
export interface EventStoreState {
  readonly history: string;
  /** Everything up to this position is durable in the log. */
  readonly acknowledged: number;
  readonly workerEpoch: number;
}

/** The state of the event store, which its tables are made with. */
export async function readEventStore(database: Database): Promise<EventStoreState> {
  const [row] = await database.query<EventStoreState>(
    `SELECT history, acknowledged, worker_epoch AS "workerEpoch" FROM ${database.schema}.event_store`,
  );
  return must(row, 'the row of the event store');
}

/** Registers a worker, and notes how far the log holds everything; never back. Throws FENCED_OUT. */
export async function noteWorker(
  database: Database,
  workerEpoch: number,
  acknowledged = 0,
): Promise<void> {
  const { count } = await database.run(
    `UPDATE ${database.schema}.event_store
     SET worker_epoch = $1, acknowledged = greatest(acknowledged, $2) WHERE worker_epoch <= $1`,
    [workerEpoch, acknowledged],
  );
  if (count === 0) throw fencedOut(workerEpoch, (await readEventStore(database)).workerEpoch);
}
