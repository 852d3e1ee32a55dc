import { compareIdentities } from '../../core/position.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../ports/checkpoint.ts';
import type { Checkpoint, StateWrite } from '../../ports/sink.ts';
import type { Tx } from './link.ts';
import { FLOW, STATE } from './names.ts';

/** One flow as the database knows it. */
export interface FlowRecord {
  readonly generation: number;
  readonly workerEpoch: number;
  readonly targets: readonly string[];
  readonly checkpoint: Checkpoint | undefined;
}

const RECORD =
  'f.generation AS generation, f.epoch AS epoch, f.targets AS targets, f.checkpoint AS checkpoint';

/** The record of a flow; with `lock` nobody else writes it before this transaction ends. */
export async function readFlow(
  tx: Tx,
  id: string,
  lock: 'lock' | 'no-lock',
): Promise<FlowRecord | undefined> {
  // Setting takes the lock; what is read after it is what the holder before has left.
  const locking = lock === 'lock' ? 'SET f.lock = true ' : '';
  const [row] = await tx.run(`MATCH (f:${FLOW} {id: $id}) ${locking}RETURN ${RECORD}`, { id });
  if (row === undefined) return undefined;
  const { generation, epoch, targets, checkpoint } = row;
  return {
    generation: Number(generation),
    workerEpoch: Number(epoch),
    targets: targets as readonly string[],
    checkpoint: typeof checkpoint === 'string' ? decodeCheckpoint(checkpoint) : undefined,
  };
}

/** Makes the record of a flow if there is none, and locks it. */
export async function claimFlow(tx: Tx, id: string): Promise<void> {
  await tx.run(`MERGE (f:${FLOW} {id: $id}) SET f.lock = true`, { id });
}

export async function writeFlow(
  tx: Tx,
  id: string,
  record: Omit<FlowRecord, 'checkpoint'>,
): Promise<void> {
  await tx.run(
    `MATCH (f:${FLOW} {id: $id}) SET f.generation = $generation, f.epoch = $epoch, f.targets = $targets`,
    {
      id,
      generation: BigInt(record.generation),
      epoch: BigInt(record.workerEpoch),
      targets: record.targets,
    },
  );
}

/** The targets that other flows have filled, with the flow of each; ids begin with the store's prefix. */
export async function readOthers(
  tx: Tx,
  prefix: string,
  id: string,
): Promise<readonly { readonly id: string; readonly targets: readonly string[] }[]> {
  const rows = await tx.run(
    `MATCH (f:${FLOW}) WHERE f.id STARTS WITH $prefix AND f.id <> $id RETURN f.id AS id, f.targets AS targets`,
    { prefix, id },
  );
  return rows.map(({ id: other, targets }) => ({
    id: String(other),
    targets: (targets ?? []) as readonly string[],
  }));
}

/**
 * Stores fold state and checkpoint, last in the batch's transaction. A batch that ends before the stored checkpoint waited
 * for the lock while a session opened later went on: its writes were judged by their fences, but its state and checkpoint
 * are of the past and stay out.
 */
export async function advance(
  tx: Tx,
  id: string,
  stored: Checkpoint | undefined,
  next: { readonly state: readonly StateWrite[]; readonly checkpoint: Checkpoint },
): Promise<void> {
  if (stored !== undefined && isBefore(next.checkpoint, stored)) return;
  const kept = next.state.filter(({ value }) => value !== null);
  const forgotten = next.state.filter(({ value }) => value === null);
  if (kept.length > 0)
    await tx.run(
      `UNWIND $rows AS r MERGE (s:${STATE} {id: r.id}) SET s.flow = $id, s.value = r.value`,
      { id, rows: kept.map(({ name, value }) => ({ id: stateId(id, name), value })) },
    );
  if (forgotten.length > 0)
    await tx.run(`UNWIND $ids AS id MATCH (s:${STATE} {id: id}) DELETE s`, {
      ids: forgotten.map(({ name }) => stateId(id, name)),
    });
  await tx.run(`MATCH (f:${FLOW} {id: $id}) SET f.checkpoint = $checkpoint`, {
    id,
    checkpoint: encodeCheckpoint(next.checkpoint),
  });
}

export async function readState(
  tx: Tx,
  id: string,
  names: readonly string[],
): Promise<readonly (string | null)[]> {
  const rows = await tx.run(
    `UNWIND $ids AS id OPTIONAL MATCH (s:${STATE} {id: id}) RETURN s.value AS value`,
    { ids: names.map((name) => stateId(id, name)) },
  );
  return rows.map(({ value }) => (typeof value === 'string' ? value : null));
}

/** Forgets what is kept about a flow, but not who may write it. */
export async function forgetProgress(tx: Tx, id: string): Promise<void> {
  await tx.run(`MATCH (f:${FLOW} {id: $id}) REMOVE f.checkpoint`, { id });
  await tx.run(`MATCH (s:${STATE} {flow: $id}) DELETE s`, { id });
}

/** A separator that is in no name of a flow. */
function stateId(flow: string, name: string): string {
  return `${flow}\n${name}`;
}

function isBefore(next: Checkpoint, stored: Checkpoint): boolean {
  if (next.log >= stored.log || next.last === undefined || stored.last === undefined) return false;
  return compareIdentities(next.last, stored.last) < 0;
}
