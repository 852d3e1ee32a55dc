import { must, TallyError } from '../../../core/errors.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../../ports/sink.ts';
import { literal } from '../database.ts';
import { sqlState } from '../errors.ts';
import type { Catalogue } from './catalogue.ts';
import type { Tx } from './connection.ts';
import type { Host } from './host.ts';
import { targetNames, type Schemas, type TargetNames } from './names.ts';
import {
  checkpointOf,
  ensureRecords,
  flowOf,
  forgetGeneration,
  holdText,
  readGenerations,
  readHeld,
  registerGeneration,
  writeFlow,
} from './records.ts';
import { dropTarget, hasTable, prepareTarget, refuseCaptured } from './schema.ts';
import { fencedOut, goneGeneration, PostgresSinkSession } from './session.ts';
import { replaceTarget } from './switch.ts';

/** The largest row if not told otherwise: PostgreSQL takes up to 1 GB, a process with many does not. */
export const ROW_BYTES_MAX: number = 64 * 2 ** 20;

/** What a PostgreSQL sink can do. */
export const sinkSupports: SinkSupports = {
  effect: 'transactional',
  ordinalFence: true,
  foldState: true,
  switchOver: true,
  rowBytesMax: ROW_BYTES_MAX,
};

/** Targets in a PostgreSQL database: batch, fold state and checkpoint commit together. */
export function openSink(host: Host, catalogue: Catalogue): Sink {
  return new PostgresSink(host, catalogue);
}

class PostgresSink implements Sink {
  readonly supports: SinkSupports;
  readonly #host: Host;
  readonly #catalogue: Catalogue;

  constructor(host: Host, catalogue: Catalogue) {
    this.#host = host;
    this.#catalogue = catalogue;
    this.supports = { ...sinkSupports, rowBytesMax: catalogue.rowBytesMax };
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    const { flow, workerEpoch, generation } = options;
    for (const shape of options.targets) this.#catalogue.layoutFor(shape);
    const schemas = await this.#ready();
    const { own } = schemas;
    const connection = this.#host.writer();
    try {
      // The first worker of a flow makes the record that all lock.
      const born = `INSERT INTO ${own}.sink_flows VALUES (${literal(flow)}, ${generation}, ${workerEpoch}) ON CONFLICT (flow) DO NOTHING`;
      await connection.transaction(
        `${turnText(own)}; ${born}; ${holdText(own, options)}`,
        async (tx, rows) => {
          const { record } = readHeld(rows.slice(2));
          const held = must(record, 'the record of the flow');
          if (held.workerEpoch > workerEpoch) throw fencedOut(flow, workerEpoch, held.workerEpoch);
          if (generation < held.generation) throw goneGeneration(flow, generation);
          await this.#take(tx, schemas, options, held.generation);
        },
      );
    } catch (error) {
      await this.#host.release(connection);
      throw error;
    }
    const parts = { host: this.#host, catalogue: this.#catalogue, schemas, connection };
    return new PostgresSinkSession(parts, options);
  }

  async prepare(targets: readonly TargetShape[]): Promise<void> {
    const layouts = targets.map((shape) => ({ shape, layout: this.#catalogue.layoutFor(shape) }));
    const schemas = await this.#ready();
    await this.#once(turnText(schemas.own), async (tx) => {
      for (const { shape, layout } of layouts) {
        // The first generation that is there is the one that readers see, whatever its number.
        const names = targetNames(schemas, shape.target, 1, 'seen');
        if (!(await hasTable(tx, names))) await prepareTarget(tx, names, layout);
      }
    });
  }

  async generation(flow: string): Promise<number | undefined> {
    const { schema } = this.#host.database;
    const rows = await this.#read(
      `SELECT generation, worker_epoch FROM ${schema}.sink_flows WHERE flow = $1`,
      flow,
    );
    return flowOf(rows)?.generation;
  }

  /**
   * One transaction: the tables that readers see are replaced by the new ones and dropped, and older generations
   * are forgotten, those that were never finished too.
   */
  async switchTo(
    flow: string,
    to: number,
    targets: readonly TargetShape[],
    workerEpoch: number,
  ): Promise<void> {
    for (const shape of targets) this.#catalogue.layoutFor(shape);
    const schemas = await this.#ready();
    const { own } = schemas;
    await this.#once(
      `${turnText(own)}; ${holdText(own, { flow, generation: to })}`,
      async (tx, rows) => {
        const { record: held, checkpoint } = readHeld(rows.slice(1));
        if (held !== undefined && held.workerEpoch > workerEpoch)
          throw fencedOut(flow, workerEpoch, held.workerEpoch);
        if (held === undefined || checkpoint === undefined) throw goneGeneration(flow, to);
        if (held.generation === to) return;
        const older = (await readGenerations(tx, own)).filter(
          (one) => one.flow === flow && one.generation < to,
        );
        const before = older.find(({ generation }) => generation === held.generation);
        for (const { target } of targets) {
          const seen = before?.targets.includes(target)
            ? targetNames(schemas, target, held.generation, 'seen')
            : undefined;
          const building = targetNames(schemas, target, to, 'building');
          await replaceTarget(tx, seen, building, targetNames(schemas, target, to, 'seen'));
        }
        for (const { generation, targets: names } of older) {
          if (generation !== held.generation)
            for (const name of names)
              await dropTarget(tx, targetNames(schemas, name, generation, 'building'));
          await forgetGeneration(tx, own, { flow, generation });
        }
        await writeFlow(tx, own, flow, { generation: to, workerEpoch });
      },
    );
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    const { schema } = this.#host.database;
    const rows = await this.#read(
      `SELECT c.checkpoint FROM ${schema}.sink_flows f
       JOIN ${schema}.sink_checkpoints c ON c.flow = f.flow AND c.generation = f.generation WHERE f.flow = $1`,
      flow,
    );
    return checkpointOf(rows) ?? undefined;
  }

  /** Makes the flow this worker's: its targets, its record, its generation. */
  async #take(tx: Tx, schemas: Schemas, options: OpenSinkOptions, seen: number): Promise<void> {
    const { flow, generation, targets, workerEpoch } = options;
    const { own } = schemas;
    const place = seen === generation ? 'seen' : 'building';
    const names = targets.map(({ target }) => targetNames(schemas, target, generation, place));
    // Before it is built, not when all is there and only the switch is left.
    if (place === 'building')
      for (const { target } of targets)
        await refuseCaptured(tx, targetNames(schemas, target, seen, 'seen'));
    await checkOthers(tx, own, flow, names);
    if (await forgetsDropped(tx, own, options, names))
      await forgetGeneration(tx, own, { flow, generation });
    for (const [index, shape] of targets.entries())
      await prepareTarget(
        tx,
        must(names[index], 'the names of a target'),
        this.#catalogue.layoutFor(shape),
      );
    await writeFlow(tx, own, flow, { generation: seen, workerEpoch });
    await registerGeneration(
      tx,
      own,
      { flow, generation },
      targets.map(({ target }) => target),
    );
  }

  async #ready(): Promise<Schemas> {
    await ensureRecords(this.#host.database);
    return this.#host.schemas();
  }

  /** One transaction on a connection of its own. */
  async #once(
    first: string,
    work: Parameters<ReturnType<Host['writer']>['transaction']>[1],
  ): Promise<void> {
    const connection = this.#host.writer();
    try {
      await connection.transaction(first, work);
    } finally {
      await this.#host.release(connection);
    }
  }

  /** Reads the records, without making them where there are none. */
  async #read(text: string, flow: string): Promise<readonly (readonly unknown[])[]> {
    try {
      return (await this.#host.database.run(text, [flow])).rows;
    } catch (error) {
      if (['3F000', '42P01'].includes(sqlState(error) ?? '')) return [];
      throw error;
    }
  }
}

/**
 * Whoever makes, takes or switches targets does so alone: two flows that take one target at the same time would not
 * see each other. Held before any flow's record, so that no two wait for one another.
 */
function turnText(schema: string): string {
  return `SELECT pg_advisory_xact_lock(hashtextextended('tallystick targets ${schema}', 0))`;
}

/**
 * Refuses a target that another flow has filled. Its rows carry the fences of that flow's lane: of another lane a
 * newer row would be refused as older, without a word. Throws CONFIG_INVALID.
 */
async function checkOthers(
  tx: Tx,
  schema: string,
  flow: string,
  names: readonly TargetNames[],
): Promise<void> {
  for (const { flow: other, targets } of await readGenerations(tx, schema)) {
    if (other === flow) continue;
    const taken = names.find(({ target }) => targets.includes(target));
    if (taken === undefined || !(await hasTable(tx, taken))) continue;
    throw new TallyError('CONFIG_INVALID', {
      what: `flow ${other} has filled this target`,
      where: `target ${taken.target}, opened by flow ${flow}`,
      mend: `give each flow targets of its own; if ${other} is gone or was renamed, DROP TABLE ${taken.table}: it is then filled anew`,
      details: { target: taken.target, flow: other },
    });
  }
}

/**
 * Whether a target that the generation has filled was dropped. Its checkpoint would say that all is there, and only
 * what changes from now on would come.
 */
async function forgetsDropped(
  tx: Tx,
  schema: string,
  { flow, generation }: OpenSinkOptions,
  names: readonly TargetNames[],
): Promise<boolean> {
  const held = (await readGenerations(tx, schema)).find(
    (one) => one.flow === flow && one.generation === generation,
  );
  for (const one of names)
    if (held?.targets.includes(one.target) === true && !(await hasTable(tx, one))) return true;
  return false;
}
