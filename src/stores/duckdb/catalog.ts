import { TallyError } from '../../core/errors.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../ports/checkpoint.ts';
import type { Checkpoint, StateWrite } from '../../ports/sink.ts';
import type { Database } from './database.ts';
import { literal } from './targets.ts';

/**
 * The coordinator's own tables. `turns` is what transactions of one flow meet at. DuckDB finds a
 * conflict per column, and takes a value that is set to itself for no change: 1. a zombie begins and
 * reads its own epoch as current 2. an heir sets worker_epoch and commits 3. the zombie sets only
 * checkpoint, and commits over the heir. So whoever writes first counts `turns` up, the heir as well.
 */
const schema = `
CREATE SCHEMA IF NOT EXISTS _tally;
CREATE TABLE IF NOT EXISTS _tally.generations (
  flow VARCHAR, generation INTEGER, worker_epoch BIGINT, turns BIGINT, checkpoint VARCHAR,
  PRIMARY KEY (flow, generation));
CREATE TABLE IF NOT EXISTS _tally.live (flow VARCHAR PRIMARY KEY, generation INTEGER);
CREATE TABLE IF NOT EXISTS _tally.targets (
  flow VARCHAR, generation INTEGER, target VARCHAR, table_name VARCHAR);
CREATE TABLE IF NOT EXISTS _tally.state (
  flow VARCHAR, generation INTEGER, name VARCHAR, value VARCHAR);`;

export async function createCatalog(db: Database): Promise<void> {
  await db.transaction(() => db.run(schema));
}

/** Which worker, of which flow and generation, a step is done for. */
export interface Worker {
  readonly flow: string;
  readonly generation: number;
  readonly workerEpoch: number;
}

/** Takes this worker's turn: nobody else of the flow can commit before it ends. Throws FENCED_OUT. */
export async function takeTurn(db: Database, worker: Worker): Promise<void> {
  const { flow, generation, workerEpoch } = worker;
  const taken = await db.run(
    'UPDATE _tally.generations SET turns = turns + 1 WHERE flow = $1 AND generation = $2 AND worker_epoch = $3',
    [flow, generation, workerEpoch],
  );
  if (taken !== 1) throw await fencedOut(db, worker);
}

/** Fences out all workers of the flow that are older, and adds the generation. Throws FENCED_OUT if this one is older. */
export async function takeOver(db: Database, worker: Worker): Promise<void> {
  const { flow, generation, workerEpoch } = worker;
  const held = await db.rows(
    'SELECT generation, worker_epoch FROM _tally.generations WHERE flow = $1',
    [flow],
  );
  const seen = await liveWithin(db, flow);
  const newest = Math.max(0, ...held.map((row) => Number(row[1])));
  if (newest > workerEpoch || (seen !== undefined && generation < seen))
    throw await fencedOut(db, worker);
  await db.run(
    'UPDATE _tally.generations SET turns = turns + 1, worker_epoch = $2 WHERE flow = $1',
    [flow, workerEpoch],
  );
  if (!held.some((row) => row[0] === generation))
    await db.run('INSERT INTO _tally.generations VALUES ($1, $2, $3, 0, NULL)', [
      flow,
      generation,
      workerEpoch,
    ]);
}

/** The generation that readers see, as the transaction under way sees it. */
export async function liveWithin(db: Database, flow: string): Promise<number | undefined> {
  const [row] = await db.rows('SELECT generation FROM _tally.live WHERE flow = $1', [flow]);
  return row === undefined ? undefined : Number(row[0]);
}

export async function setLive(db: Database, flow: string, generation: number): Promise<void> {
  const moved = await db.run('UPDATE _tally.live SET generation = $2 WHERE flow = $1', [
    flow,
    generation,
  ]);
  if (moved === 0) await db.run('INSERT INTO _tally.live VALUES ($1, $2)', [flow, generation]);
}

/** A target's table in a generation. */
export interface RegisteredTarget {
  readonly generation: number;
  readonly target: string;
  readonly table: string;
}

export async function registeredTargets(
  db: Database,
  flow: string,
): Promise<readonly RegisteredTarget[]> {
  const rows = await db.rows(
    'SELECT generation, target, table_name FROM _tally.targets WHERE flow = $1 ORDER BY generation, target',
    [flow],
  );
  return rows.map((row) => ({
    generation: Number(row[0]),
    target: String(row[1]),
    table: String(row[2]),
  }));
}

/** Notes that a generation has a target. Throws CONFIG_INVALID if another flow writes to it. */
export async function registerTarget(
  db: Database,
  { flow, generation }: Worker,
  target: string,
  table: string,
): Promise<void> {
  const held = await db.rows(
    'SELECT flow, generation FROM _tally.targets WHERE lower(target) = lower($1)',
    [target],
  );
  const other = held.find((row) => row[0] !== flow);
  if (other !== undefined)
    throw new TallyError('CONFIG_INVALID', {
      what: `the target is already written by flow ${String(other[0])}`,
      where: `${target} in ${db.file}`,
      mend: 'give each flow targets of its own; rows of one target come from one lane',
      details: { target, flow: other[0] },
    });
  if (held.some((row) => row[1] === generation)) return;
  await db.run('INSERT INTO _tally.targets VALUES ($1, $2, $3, $4)', [
    flow,
    generation,
    target,
    table,
  ]);
}

export async function storeCheckpoint(
  db: Database,
  { flow, generation }: Worker,
  checkpoint: Checkpoint | undefined,
): Promise<void> {
  await db.run(
    'UPDATE _tally.generations SET checkpoint = $3 WHERE flow = $1 AND generation = $2',
    [flow, generation, checkpoint === undefined ? null : encodeCheckpoint(checkpoint)],
  );
}

/** Reads the checkpoint of this worker's generation. Throws FENCED_OUT if a newer one has taken over. */
export async function readCheckpoint(
  db: Database,
  worker: Worker,
): Promise<Checkpoint | undefined> {
  const [row] = await db.rows(
    'SELECT worker_epoch, checkpoint FROM _tally.generations WHERE flow = $1 AND generation = $2',
    [worker.flow, worker.generation],
  );
  if (row === undefined || Number(row[0]) !== worker.workerEpoch) throw await fencedOut(db, worker);
  return storedCheckpoint(row[1]);
}

/** Puts state into the generation, or takes it out, through one merge by name. */
export async function storeState(
  db: Database,
  { flow, generation }: Worker,
  state: readonly StateWrite[],
): Promise<void> {
  if (state.length === 0) return;
  await db.run(
    `MERGE INTO _tally.state AS t
     USING (SELECT item.name AS name, item.value AS value
       FROM (SELECT unnest(from_json($1, '[{"name":"VARCHAR","value":"VARCHAR"}]')) AS item)) AS s
     ON t.flow = ${literal(flow)} AND t.generation = ${generation} AND t.name = s.name
     WHEN MATCHED AND s.value IS NULL THEN DELETE
     WHEN MATCHED THEN UPDATE SET value = s.value
     WHEN NOT MATCHED AND s.value IS NOT NULL
     THEN INSERT VALUES (${literal(flow)}, ${generation}, s.name, s.value)`,
    [JSON.stringify(state.map(({ name, value }) => ({ name, value })))],
  );
}

export async function loadState(
  db: Database,
  { flow, generation }: Worker,
  names: readonly string[],
): Promise<readonly (string | null)[]> {
  if (names.length === 0) return [];
  const rows = await db.rows(
    `SELECT name, value FROM _tally.state WHERE flow = $1 AND generation = $2
     AND name IN (SELECT unnest(from_json($3, '["VARCHAR"]')))`,
    [flow, generation, JSON.stringify(names)],
  );
  const held = new Map(rows.map((row) => [String(row[0]), String(row[1])]));
  return names.map((name) => held.get(name) ?? null);
}

export async function clearState(db: Database, { flow, generation }: Worker): Promise<void> {
  await db.run('DELETE FROM _tally.state WHERE flow = $1 AND generation = $2', [flow, generation]);
}

/** Forgets all generations of a flow before `generation`. */
export async function forgetBefore(db: Database, flow: string, generation: number): Promise<void> {
  for (const table of ['generations', 'targets', 'state'])
    await db.run(`DELETE FROM _tally.${table} WHERE flow = $1 AND generation < $2`, [
      flow,
      generation,
    ]);
}

export function storedCheckpoint(text: unknown): Checkpoint | undefined {
  return typeof text === 'string' ? decodeCheckpoint(text) : undefined;
}

async function fencedOut(db: Database, worker: Worker): Promise<TallyError> {
  const { flow, generation, workerEpoch } = worker;
  const [row] = await db.rows('SELECT max(worker_epoch) FROM _tally.generations WHERE flow = $1', [
    flow,
  ]);
  const newest = row?.[0] === null || row === undefined ? undefined : Number(row[0]);
  const replaced = newest !== undefined && newest > workerEpoch;
  return new TallyError('FENCED_OUT', {
    what: replaced
      ? `a worker of epoch ${workerEpoch} was replaced by one of epoch ${newest}`
      : `generation ${generation} is not there: it was switched away from, or never opened`,
    where: `flow ${flow} in ${db.file}`,
    mend: replaced
      ? 'nothing; the newer worker goes on'
      : 'open the generation that the sink names as current',
    details: { flow, generation, workerEpoch, ...(replaced ? { holder: newest } : {}) },
  });
}
