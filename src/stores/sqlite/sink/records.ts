import { compareIdentities } from '../../../core/position.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../../ports/checkpoint.ts';
import type { Checkpoint, StateWrite } from '../../../ports/sink.ts';
import type { Connection } from '../connection.ts';

// The coordinator's own records, in the file of the targets: which generation of a flow readers see
// and which worker may write it; per generation a checkpoint and fold state.

const TABLES = `
  CREATE TABLE IF NOT EXISTS _tally_flows
    (flow TEXT PRIMARY KEY, generation INTEGER NOT NULL, worker_epoch INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS _tally_checkpoints
    (flow TEXT, generation INTEGER, checkpoint TEXT, targets TEXT NOT NULL, PRIMARY KEY (flow, generation)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS _tally_state
    (flow TEXT, generation INTEGER, name TEXT, value TEXT NOT NULL, PRIMARY KEY (flow, generation, name)) WITHOUT ROWID;
`;

/** One flow as the file knows it. */
export interface FlowRecord {
  /** The generation that readers see. */
  readonly generation: number;
  readonly workerEpoch: number;
}

/** Whether the coordinator's tables are in the file; a reader does not make them. */
export function hasRecords(connection: Connection): boolean {
  return (
    connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = '_tally_flows'").get() !==
    undefined
  );
}

/** Makes the coordinator's tables; inside a transaction. */
export function createRecords(connection: Connection): void {
  connection.database.exec(TABLES);
}

export function readFlow(connection: Connection, flow: string): FlowRecord | undefined {
  const row = connection
    .prepare('SELECT generation, worker_epoch FROM _tally_flows WHERE flow = ?')
    .get(flow);
  if (row === undefined) return undefined;
  return { generation: Number(row['generation']), workerEpoch: Number(row['worker_epoch']) };
}

export function writeFlow(connection: Connection, flow: string, record: FlowRecord): void {
  connection
    .prepare(
      'INSERT OR REPLACE INTO _tally_flows (flow, generation, worker_epoch) VALUES (?, ?, ?)',
    )
    .run(flow, record.generation, record.workerEpoch);
}

/** A generation's checkpoint; undefined if there is no such generation, null before its first batch. */
export function readCheckpoint(
  connection: Connection,
  flow: string,
  generation: number,
): Checkpoint | null | undefined {
  const row = connection
    .prepare('SELECT checkpoint FROM _tally_checkpoints WHERE flow = ? AND generation = ?')
    .get(flow, generation);
  if (row === undefined) return undefined;
  const text = row['checkpoint'];
  return typeof text === 'string' ? decodeCheckpoint(text) : null;
}

/** Notes that a generation exists, and of which targets; keeps its checkpoint. */
export function registerGeneration(
  connection: Connection,
  flow: string,
  generation: number,
  targets: readonly string[],
): void {
  connection
    .prepare(
      `INSERT INTO _tally_checkpoints (flow, generation, checkpoint, targets) VALUES (?, ?, NULL, ?)
       ON CONFLICT DO UPDATE SET targets = excluded.targets`,
    )
    .run(flow, generation, JSON.stringify(targets));
}

/** The generations that exist, with their targets. */
export function readGenerations(
  connection: Connection,
  flow: string,
): readonly { readonly generation: number; readonly targets: readonly string[] }[] {
  return connection
    .prepare(
      'SELECT generation, targets FROM _tally_checkpoints WHERE flow = ? ORDER BY generation',
    )
    .all(flow)
    .map((row) => ({
      generation: Number(row['generation']),
      targets: JSON.parse(String(row['targets'])) as readonly string[],
    }));
}

/** The generations of every flow, with their targets. */
export function readAllGenerations(
  connection: Connection,
): readonly { readonly flow: string; readonly targets: readonly string[] }[] {
  return connection
    .prepare('SELECT flow, targets FROM _tally_checkpoints')
    .all()
    .map((row) => ({
      flow: String(row['flow']),
      targets: JSON.parse(String(row['targets'])) as readonly string[],
    }));
}

/** Removes what is kept about a generation. */
export function forgetGeneration(connection: Connection, flow: string, generation: number): void {
  for (const table of ['_tally_checkpoints', '_tally_state'])
    connection
      .prepare(`DELETE FROM ${table} WHERE flow = ? AND generation = ?`)
      .run(flow, generation);
}

/**
 * Stores fold state and checkpoint, last in the batch's transaction. A batch that ends before the
 * stored checkpoint is one that waited for the lock while a session opened later went on: its
 * writes were judged by their fences, but its state and checkpoint are of the past and stay out.
 */
export function advance(
  connection: Connection,
  at: { readonly flow: string; readonly generation: number },
  stored: Checkpoint | null,
  next: { readonly state: readonly StateWrite[]; readonly checkpoint: Checkpoint },
): void {
  const { flow, generation } = at;
  if (stored !== null && isBefore(next.checkpoint, stored)) return;
  const put = connection.prepare(
    'INSERT OR REPLACE INTO _tally_state (flow, generation, name, value) VALUES (?, ?, ?, ?)',
  );
  const forget = connection.prepare(
    'DELETE FROM _tally_state WHERE flow = ? AND generation = ? AND name = ?',
  );
  for (const { name, value } of next.state) {
    if (value === null) forget.run(flow, generation, name);
    else put.run(flow, generation, name, value);
  }
  connection
    .prepare('UPDATE _tally_checkpoints SET checkpoint = ? WHERE flow = ? AND generation = ?')
    .run(encodeCheckpoint(next.checkpoint), flow, generation);
}

export function readState(
  connection: Connection,
  at: { readonly flow: string; readonly generation: number },
  names: readonly string[],
): readonly (string | null)[] {
  const statement = connection.prepare(
    'SELECT value FROM _tally_state WHERE flow = ? AND generation = ? AND name = ?',
  );
  return names.map((name) => {
    const value = statement.get(at.flow, at.generation, name)?.['value'];
    return typeof value === 'string' ? value : null;
  });
}

function isBefore(next: Checkpoint, stored: Checkpoint): boolean {
  if (next.log >= stored.log || next.last === undefined || stored.last === undefined) return false;
  return compareIdentities(next.last, stored.last) < 0;
}
