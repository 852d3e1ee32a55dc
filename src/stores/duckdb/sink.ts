import { TallyError } from '../../core/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../ports/sink.ts';
import {
  storedCheckpoint,
  forgetBefore,
  liveWithin,
  registeredTargets,
  registerTarget,
  setLive,
  takeOver,
  type Worker,
} from './catalog.ts';
import type { Database } from './database.ts';
import { isConflict } from './errors.ts';
import { columnarLayout, documentsLayout, type Layout } from './layout.ts';
import { DuckdbSinkSession } from './session.ts';
import { createTable, describeTypes, nameTaken, showTable, tableName } from './table.ts';
import { checkTargetName, quote, type ColumnarTarget } from './targets.ts';
import { TargetWriter } from './writer.ts';

/** Tries to open or switch while another worker of this process is in the middle of a batch. */
const TRIES_MAX = 100;
const TRY_DELAY_MS = 20;

/** What the sink needs of its store. */
export interface SinkParts {
  readonly db: Database;
  readonly clock: Clock;
  readonly supports: SinkSupports;
  readonly declared: Readonly<Record<string, ColumnarTarget>>;
}

/**
 * The sink of a DuckDB file. A batch, its fold state and its checkpoint are one transaction. A
 * generation of target `t` is the table `t__g<n>`, and `t` a view of the one that readers see.
 */
export class DuckdbSink implements Sink {
  readonly supports: SinkSupports;
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #declared: Readonly<Record<string, ColumnarTarget>>;
  readonly #layouts = new Map<string, Layout>();

  constructor({ db, clock, supports, declared }: SinkParts) {
    this.#db = db;
    this.#clock = clock;
    this.supports = supports;
    this.#declared = declared;
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    const { flow, generation, workerEpoch } = options;
    const worker: Worker = { flow, generation, workerEpoch };
    const layouts = await this.#layoutsOf(options.targets);
    const writers = await this.#retry(() =>
      this.#db.transaction(() => this.#openWithin(worker, layouts)),
    );
    for (const writer of writers.values()) writer.committed();
    return new DuckdbSinkSession(this.#db, worker, writers);
  }

  async generation(flow: string): Promise<number | undefined> {
    const [row] = await this.#db.read('SELECT generation FROM _tally.live WHERE flow = $1', [flow]);
    return row === undefined ? undefined : Number(row[0]);
  }

  async switchTo(
    flow: string,
    to: number,
    targets: readonly TargetShape[],
    workerEpoch: number,
  ): Promise<void> {
    await this.#layoutsOf(targets);
    await this.#retry(() =>
      this.#db.transaction(() => this.#switchWithin({ flow, generation: to, workerEpoch })),
    );
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    const [row] = await this.#db.read(
      'SELECT g.checkpoint FROM _tally.generations g JOIN _tally.live l USING (flow, generation) WHERE flow = $1',
      [flow],
    );
    return storedCheckpoint(row?.[0]);
  }

  /** The layout of a target, declared or not. */
  async layout(target: string): Promise<Layout> {
    const known = this.#layouts.get(target);
    if (known !== undefined) return known;
    checkTargetName(target, `targets.${target}`);
    const blob = (bytes: Uint8Array): unknown => new this.#db.driver.DuckDBBlobValue(bytes);
    const declared = Object.hasOwn(this.#declared, target) ? this.#declared[target] : undefined;
    const layout =
      declared === undefined
        ? documentsLayout(target, blob)
        : await columnarLayout(target, declared, (types) => describeTypes(this.#db, types), blob);
    this.#layouts.set(target, layout);
    return layout;
  }

  async #layoutsOf(targets: readonly TargetShape[]): Promise<readonly Layout[]> {
    const layouts: Layout[] = [];
    for (const { target, key } of targets) {
      const layout = await this.layout(target);
      const declared = this.#declared[target]?.key;
      if (key !== undefined && declared !== undefined && !sameNames(key, declared))
        throw new TallyError('CONFIG_INVALID', {
          what: `the flow keys ${target} by ${key.join(', ')}, and columnar() by ${declared.join(', ')}`,
          where: `targets.${target}.key`,
          mend: 'declare the key that the flow has',
          details: { target, key, declared },
        });
      layouts.push(layout);
    }
    return layouts;
  }

  async #openWithin(
    worker: Worker,
    layouts: readonly Layout[],
  ): Promise<ReadonlyMap<string, TargetWriter>> {
    const { flow, generation } = worker;
    await takeOver(this.#db, worker);
    const writers = new Map<string, TargetWriter>();
    for (const layout of layouts) {
      const { target } = layout;
      const table = tableName(target, generation);
      await registerTarget(this.#db, worker, target, table);
      if (await nameTaken(this.#db, target)) throw unfit(target, 'a table of that name is there');
      if (!(await createTable(this.#db, table, layout)))
        throw unfit(target, `${table} was made with other columns`);
      const writer = new TargetWriter(this.#db, layout, table, this.supports.rowBytesMax);
      await writer.refresh();
      writers.set(target, writer);
    }
    const live = await liveWithin(this.#db, flow);
    if (live === undefined) await setLive(this.#db, flow, generation);
    if (live === undefined || live === generation)
      for (const { table, layout } of writers.values()) await showTable(this.#db, table, layout);
    return writers;
  }

  async #switchWithin(worker: Worker): Promise<void> {
    const { flow, generation: to } = worker;
    const targets = await registeredTargets(this.#db, flow);
    const next = targets.filter(({ generation }) => generation === to);
    // takeOver would add a generation that nobody built; one without targets was never opened.
    if (next.length === 0) throw missing(flow, to);
    await takeOver(this.#db, worker);
    if ((await liveWithin(this.#db, flow)) === to) return;
    for (const { target, table } of next)
      await showTable(this.#db, table, await this.layout(target));
    for (const { target, table } of targets.filter((one) => one.generation < to)) {
      if (!next.some((one) => one.target === target))
        await this.#db.run(`DROP VIEW IF EXISTS ${quote(target)}`);
      await this.#db.run(`DROP TABLE IF EXISTS ${quote(table)}`);
    }
    await setLive(this.#db, flow, to);
    await forgetBefore(this.#db, flow, to);
  }

  /** Repeats a step that met another worker's transaction at the flow's row. */
  async #retry<Result>(step: () => Promise<Result>): Promise<Result> {
    for (let tries = 1; ; tries++) {
      try {
        return await step();
      } catch (error) {
        if (!isConflict(error) || tries === TRIES_MAX) throw error;
        await this.#clock.sleep(TRY_DELAY_MS);
      }
    }
  }
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name, index) => name === other[index]);
}

function unfit(target: string, what: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what,
    where: `targets.${target}`,
    mend: 'rebuild the flow into a new generation, or give the target another name',
    details: { target },
  });
}

function missing(flow: string, generation: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `generation ${generation} is not there: it was switched away from, or never opened`,
    where: `flow ${flow}`,
    mend: 'open the generation and build it before switching to it',
    details: { flow, generation },
  });
}
