import { must, TallyError } from '../../../core/errors.ts';
import type { Database } from '../database.ts';
import { sqlState } from '../errors.ts';
import { fencedOut } from '../source/capture-state.ts';

/** What the coordinator keeps of an outbox that is read by its own sequence. */
export interface OutboxState {
  /** Made with the record: with system and timeline it is the identity of the history. */
  readonly history: string;
  /** The newest number that was allotted; 0 before the first. */
  readonly newest: number;
  /** Everything up to this number is durable in the log. */
  readonly acknowledged: number;
  readonly workerEpoch: number;
}

/** Makes the record of an outbox. Idempotent. */
export async function ensureOutbox(database: Database, name: string): Promise<void> {
  const { schema } = database;
  await database.ensure(
    'outboxes',
    1,
    `CREATE TABLE IF NOT EXISTS ${schema}.outboxes (
       name text PRIMARY KEY, history text NOT NULL, next bigint NOT NULL DEFAULT 1,
       acknowledged bigint NOT NULL DEFAULT 0, worker_epoch bigint NOT NULL DEFAULT 0)`,
  );
  if ((await readOutbox(database, name)) !== undefined) return;
  await database.run(
    `INSERT INTO ${schema}.outboxes (name, history) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
    [name, database.random.id()],
  );
}

/** The record; undefined if there is none. */
export async function readOutbox(
  database: Database,
  name: string,
): Promise<OutboxState | undefined> {
  try {
    const [row] = await database.query<OutboxState>(
      `SELECT history, next - 1 AS newest, acknowledged, worker_epoch AS "workerEpoch"
       FROM ${database.schema}.outboxes WHERE name = $1`,
      [name],
    );
    return row;
  } catch (error) {
    if (['3F000', '42P01'].includes(sqlState(error) ?? '')) return undefined;
    throw error;
  }
}

/** Registers a worker. Throws FENCED_OUT if a newer one is there. */
export async function claimOutbox(
  database: Database,
  name: string,
  workerEpoch: number,
): Promise<void> {
  const { count } = await database.run(
    `UPDATE ${database.schema}.outboxes SET worker_epoch = $2 WHERE name = $1 AND worker_epoch <= $2`,
    [name, workerEpoch],
  );
  if (count === 0) await refuse(database, name, workerEpoch);
}

/** Notes that everything up to a number is durable in the log. Never moves back. Throws FENCED_OUT. */
export async function acknowledgeOutbox(
  database: Database,
  name: string,
  upTo: number,
  workerEpoch: number,
): Promise<void> {
  const { count } = await database.run(
    `UPDATE ${database.schema}.outboxes SET acknowledged = greatest(acknowledged, $2)
     WHERE name = $1 AND worker_epoch <= $3`,
    [name, upTo, workerEpoch],
  );
  if (count === 0) await refuse(database, name, workerEpoch);
}

async function refuse(database: Database, name: string, workerEpoch: number): Promise<never> {
  const state = await readOutbox(database, name);
  if (state === undefined)
    throw new TallyError('HISTORY_LOST', {
      what: `the record of the outbox ${name} is gone`,
      where: `${database.where}, ${database.schema}.outboxes`,
      mend: 'start the application again: it makes a new one, and asks for a new snapshot',
    });
  throw fencedOut(workerEpoch, must(state.workerEpoch, 'the epoch of the worker'));
}
