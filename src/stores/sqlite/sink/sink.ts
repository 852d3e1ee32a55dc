import { must, TallyError } from '../../../core/errors.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../../ports/sink.ts';
import type { Connection } from '../connection.ts';
import type { Catalogue } from './catalogue.ts';
import { snapshot, transaction, type Host } from './host.ts';
import { quote, targetNames, type TargetNames } from './names.ts';
import {
  createRecords,
  forgetGeneration,
  hasRecords,
  readAllGenerations,
  readCheckpoint,
  readFlow,
  readGenerations,
  registerGeneration,
  writeFlow,
} from './records.ts';
import { dropTarget, hasTable, prepareTarget, refuseCaptured, replaceTarget } from './schema.ts';
import { fencedOut, goneGeneration, SqliteSinkSession } from './session.ts';

/** The largest row if not told otherwise: SQLite takes up to 1 GB, a process with many does not. */
export const ROW_BYTES_MAX: number = 64 * 2 ** 20;

/** What a SQLite sink can do. */
export const sinkSupports: SinkSupports = {
  effect: 'transactional',
  ordinalFence: true,
  foldState: true,
  switchOver: true,
  rowBytesMax: ROW_BYTES_MAX,
};

/**
 * Refuses a target that another flow has filled. Its rows carry the fences of that flow's lane: of another lane
 * a newer row would be refused as older, without a word. Throws CONFIG_INVALID.
 */
function checkOthers(connection: Connection, flow: string, names: readonly TargetNames[]): void {
  for (const { flow: other, targets } of readAllGenerations(connection)) {
    const taken = names.find(({ target }) => targets.includes(target));
    if (other === flow || taken === undefined || !hasTable(connection.database, taken)) continue;
    throw new TallyError('CONFIG_INVALID', {
      what: `flow ${other} has filled this target`,
      where: `target ${taken.target} in ${connection.file}, opened by flow ${flow}`,
      mend: `give each flow targets of its own; if ${other} is gone or was renamed, DROP TABLE ${quote(taken.target)}: it is then filled anew`,
      details: { target: taken.target, flow: other },
    });
  }
}

/**
 * Whether a target that the generation has filled was dropped. Its checkpoint would say that all is there, and
 * only what changes from now on would come.
 */
function forgetsDropped(
  connection: Connection,
  { flow, generation }: OpenSinkOptions,
  names: readonly TargetNames[],
): boolean {
  const held = readGenerations(connection, flow).find((one) => one.generation === generation);
  return names.some(
    (one) => held?.targets.includes(one.target) === true && !hasTable(connection.database, one),
  );
}

/** Targets in a SQLite file: batch and checkpoint commit together. */
export function openSink(host: Host, catalogue: Catalogue): Sink {
  return new SqliteSink(host, catalogue);
}

class SqliteSink implements Sink {
  readonly supports: SinkSupports;
  readonly #host: Host;
  readonly #catalogue: Catalogue;

  constructor(host: Host, catalogue: Catalogue) {
    this.#host = host;
    this.#catalogue = catalogue;
    this.supports = { ...sinkSupports, rowBytesMax: catalogue.rowBytesMax };
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    const { flow, generation, targets, workerEpoch } = options;
    const { connection } = this.#host;
    const layouts = targets.map((shape) => ({ shape, layout: this.#catalogue.layoutFor(shape) }));
    await transaction(this.#host, () => {
      createRecords(connection);
      const held = readFlow(connection, flow);
      if (held !== undefined && held.workerEpoch > workerEpoch)
        throw fencedOut(flow, workerEpoch, held.workerEpoch);
      if (held !== undefined && generation < held.generation)
        throw goneGeneration(flow, generation);
      const seen = held?.generation ?? generation;
      const place = seen === generation ? 'seen' : 'building';
      const names = targets.map(({ target }) => targetNames(target, generation, place));
      // Before it is built, not when all is there and only the switch is left.
      if (place === 'building')
        for (const { target } of targets)
          refuseCaptured(connection.database, targetNames(target, seen, 'seen'));
      checkOthers(connection, flow, names);
      if (forgetsDropped(connection, options, names))
        forgetGeneration(connection, flow, generation);
      for (const [index, { layout }] of layouts.entries())
        prepareTarget(connection.database, must(names[index], 'the names of a target'), layout);
      writeFlow(connection, flow, { generation: seen, workerEpoch });
      registerGeneration(
        connection,
        flow,
        generation,
        targets.map(({ target }) => target),
      );
    });
    return new SqliteSinkSession(this.#host, this.#catalogue, options);
  }

  async prepare(targets: readonly TargetShape[]): Promise<void> {
    const { database } = this.#host.connection;
    const layouts = targets.map((shape) => ({ shape, layout: this.#catalogue.layoutFor(shape) }));
    await transaction(this.#host, () => {
      for (const { shape, layout } of layouts) {
        // The first generation that is there is the one that readers see, whatever its number.
        const names = targetNames(shape.target, 1, 'seen');
        if (!hasTable(database, names)) prepareTarget(database, names, layout);
      }
    });
  }

  async generation(flow: string): Promise<number | undefined> {
    return this.#read(() => readFlow(this.#host.connection, flow)?.generation);
  }

  /**
   * One transaction: the tables that readers see are dropped, the new ones get their names, and
   * older generations are forgotten, those that were never finished too.
   */
  async switchTo(
    flow: string,
    to: number,
    targets: readonly TargetShape[],
    workerEpoch: number,
  ): Promise<void> {
    const { connection } = this.#host;
    const { database } = connection;
    const layouts = targets.map((shape) => ({ shape, layout: this.#catalogue.layoutFor(shape) }));
    await transaction(this.#host, () => {
      createRecords(connection);
      const held = readFlow(connection, flow);
      if (held !== undefined && held.workerEpoch > workerEpoch)
        throw fencedOut(flow, workerEpoch, held.workerEpoch);
      if (held === undefined || readCheckpoint(connection, flow, to) === undefined)
        throw goneGeneration(flow, to);
      if (held.generation === to) return;
      const older = readGenerations(connection, flow).filter(({ generation }) => generation < to);
      const before = older.find(({ generation }) => generation === held.generation);
      for (const { shape, layout } of layouts) {
        const seen = before?.targets.includes(shape.target)
          ? targetNames(shape.target, held.generation, 'seen')
          : undefined;
        const building = targetNames(shape.target, to, 'building');
        replaceTarget(database, seen, building, targetNames(shape.target, to, 'seen'), layout);
      }
      for (const { generation, targets: names } of older) {
        if (generation !== held.generation)
          for (const name of names) dropTarget(database, targetNames(name, generation, 'building'));
        forgetGeneration(connection, flow, generation);
      }
      writeFlow(connection, flow, { generation: to, workerEpoch });
    });
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    const { connection } = this.#host;
    return this.#read(() => {
      const held = readFlow(connection, flow);
      return held && (readCheckpoint(connection, flow, held.generation) ?? undefined);
    });
  }

  /** Reads the records at one instant, without writing to a file that has none. */
  #read<Result>(work: () => Result | undefined): Result | undefined {
    return snapshot(this.#host, () => (hasRecords(this.#host.connection) ? work() : undefined));
  }
}
