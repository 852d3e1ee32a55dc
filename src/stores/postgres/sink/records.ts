import { compareIdentities } from '../../../core/position.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../ports/checkpoint.ts';
import type { Checkpoint, StateWrite } from '../../../ports/sink.ts';
import { literal, type Database } from '../database.ts';
import type { Tx } from './connection.ts';

// The coordinator's own records, beside the tombstones: which generation of a flow readers see and which worker may
// write it; per generation a checkpoint and fold state.

/** Makes the coordinator's tables, once. */
export async function ensureRecords(database: Database): Promise<void> {
  const { schema } = database;
  await database.ensure(
    'sink',
    1,
    `CREATE TABLE IF NOT EXISTS ${schema}.sink_flows
      (flow text PRIMARY KEY, generation int NOT NULL, worker_epoch bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS ${schema}.sink_checkpoints
      (flow text, generation int, checkpoint text, targets text[] NOT NULL, PRIMARY KEY (flow, generation));
    CREATE TABLE IF NOT EXISTS ${schema}.sink_state
      (flow text, generation int, name text COLLATE "C", value text NOT NULL, PRIMARY KEY (flow, generation, name));`,
  );
}

/** One flow as the database knows it. */
export interface FlowRecord {
  /** The generation that readers see. */
  readonly generation: number;
  readonly workerEpoch: number;
}

/** A generation of a flow. */
export interface At {
  readonly flow: string;
  readonly generation: number;
}

type Rows = readonly (readonly unknown[])[];

/**
 * What every step begins with: it locks the flow, and reads its record and the checkpoint as they are then. The
 * checkpoint is read by a statement of its own, which sees what was committed while the lock was waited for.
 */
export function holdText(schema: string, { flow, generation }: At): string {
  const name = literal(flow);
  return `SELECT generation, worker_epoch FROM ${schema}.sink_flows WHERE flow = ${name} FOR UPDATE;
    SELECT checkpoint FROM ${schema}.sink_checkpoints WHERE flow = ${name} AND generation = ${generation}`;
}

/** The answers to {@link holdText}: the checkpoint is undefined if there is no such generation, null before its first batch. */
export function readHeld(rows: readonly Rows[]): {
  readonly record: FlowRecord | undefined;
  readonly checkpoint: Checkpoint | null | undefined;
} {
  return { record: flowOf(rows[0]), checkpoint: checkpointOf(rows[1]) };
}

export function flowOf(rows: Rows | undefined): FlowRecord | undefined {
  const row = rows?.[0];
  return row && { generation: Number(row[0]), workerEpoch: Number(row[1]) };
}

export function checkpointOf(rows: Rows | undefined): Checkpoint | null | undefined {
  const row = rows?.[0];
  if (row === undefined) return undefined;
  return typeof row[0] === 'string' ? decodeCheckpoint(row[0]) : null;
}

export async function writeFlow(
  tx: Tx,
  schema: string,
  flow: string,
  record: FlowRecord,
): Promise<void> {
  await tx.query(
    `INSERT INTO ${schema}.sink_flows (flow, generation, worker_epoch) VALUES ($1, $2, $3)
     ON CONFLICT (flow) DO UPDATE SET generation = excluded.generation, worker_epoch = excluded.worker_epoch`,
    [flow, record.generation, record.workerEpoch],
  );
}

/** Notes that a generation exists, and of which targets; keeps its checkpoint. */
export async function registerGeneration(
  tx: Tx,
  schema: string,
  { flow, generation }: At,
  targets: readonly string[],
): Promise<void> {
  await tx.query(
    `INSERT INTO ${schema}.sink_checkpoints (flow, generation, checkpoint, targets) VALUES ($1, $2, NULL, $3)
     ON CONFLICT (flow, generation) DO UPDATE SET targets = excluded.targets`,
    [flow, generation, [...targets]],
  );
}

/** Every generation of every flow, with its targets, the oldest first. */
export async function readGenerations(
  tx: Tx,
  schema: string,
): Promise<readonly (At & { readonly targets: readonly string[] })[]> {
  const rows = await tx.query(
    `SELECT flow, generation, to_json(targets)::text FROM ${schema}.sink_checkpoints ORDER BY flow, generation`,
  );
  return rows.map(([flow, generation, targets]) => ({
    flow: String(flow),
    generation: Number(generation),
    targets: JSON.parse(String(targets)) as readonly string[],
  }));
}

/** Removes what is kept about a generation. */
export async function forgetGeneration(
  tx: Tx,
  schema: string,
  { flow, generation }: At,
): Promise<void> {
  for (const table of ['sink_checkpoints', 'sink_state'])
    await tx.query(`DELETE FROM ${schema}.${table} WHERE flow = $1 AND generation = $2`, [
      flow,
      generation,
    ]);
}

/** Stores fold state, in the batch's transaction. */
export async function writeState(
  tx: Tx,
  schema: string,
  { flow, generation }: At,
  state: readonly StateWrite[],
): Promise<void> {
  if (state.length === 0) return;
  const last = new Map(state.map(({ name, value }) => [name, value]));
  await tx.execute({
    text: `WITH given AS MATERIALIZED (SELECT * FROM unnest($3::text[], $4::text[]) AS g(name, value)),
      forgotten AS (DELETE FROM ${schema}.sink_state AS s USING given
        WHERE s.flow = $1 AND s.generation = $2 AND s.name = given.name AND given.value IS NULL)
      INSERT INTO ${schema}.sink_state (flow, generation, name, value)
      SELECT $1, $2, name, value FROM given WHERE value IS NOT NULL
      ON CONFLICT (flow, generation, name) DO UPDATE SET value = excluded.value`,
    values: [flow, generation, [...last.keys()], [...last.values()]],
  });
}

/**
 * Whether a batch ends before the stored checkpoint. It then waited for the lock while a session opened later went on:
 * its writes were judged by their fences, but its state and checkpoint are of the past and stay out.
 */
export function isBefore(next: Checkpoint, stored: Checkpoint | null): boolean {
  if (stored === null || next.log >= stored.log) return false;
  if (next.last === undefined || stored.last === undefined) return false;
  return compareIdentities(next.last, stored.last) < 0;
}

/** Stores the checkpoint, last in the batch's transaction. */
export async function writeCheckpoint(
  tx: Tx,
  schema: string,
  { flow, generation }: At,
  checkpoint: Checkpoint,
): Promise<void> {
  await tx.execute({
    text: `UPDATE ${schema}.sink_checkpoints SET checkpoint = $3 WHERE flow = $1 AND generation = $2`,
    values: [flow, generation, encodeCheckpoint(checkpoint)],
  });
}
