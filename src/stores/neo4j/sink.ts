import { TallyError } from '../../core/errors.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../ports/sink.ts';
import { fencedOut } from './errors.ts';
import type { Link, Tx } from './link.ts';
import { constraints } from './names.ts';
import { claimFlow, readFlow, readOthers, writeFlow } from './records.ts';
import { NeoSinkSession } from './session.ts';
import { sinkSupports } from './supports.ts';
import { placeOf, type Targets } from './targets.ts';

export interface NeoSinkOptions {
  readonly link: Link;
  readonly prefix: string;
  readonly targets: Targets;
  readonly rowBytesMax: number;
}

/** Targets in a Neo4j: batch and checkpoint commit together. */
export class NeoSink implements Sink {
  readonly supports: SinkSupports;
  readonly #options: NeoSinkOptions;

  constructor(options: NeoSinkOptions) {
    this.#options = options;
    this.supports = { ...sinkSupports, rowBytesMax: options.rowBytesMax };
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    const { link, prefix, targets, rowBytesMax } = this.#options;
    const { flow, generation, workerEpoch } = options;
    const names = options.targets.map(({ target }) => target);
    const places = new Map(names.map((name) => [name, placeOf(targets, name)]));
    await link.schema(constraints([...places.values()]));
    const id = `${prefix}${flow}`;
    await link.write(async (tx) => {
      await claimFlow(tx, id);
      const held = await readFlow(tx, id, 'lock');
      const isNew = held === undefined || held.generation === 0;
      if (!isNew && held.workerEpoch > workerEpoch)
        throw fencedOut(flow, workerEpoch, held.workerEpoch);
      if (!isNew && held.generation !== generation) throw oneGeneration(flow, link.where);
      await this.#refuseTaken(tx, flow, names);
      await writeFlow(tx, id, { generation, workerEpoch, targets: names });
    });
    return new NeoSinkSession({ link, prefix, rowBytesMax, options, places });
  }

  async generation(flow: string): Promise<number | undefined> {
    const { link, prefix } = this.#options;
    return link.read(async (tx) => (await readFlow(tx, `${prefix}${flow}`, 'no-lock'))?.generation);
  }

  async switchTo(
    flow: string,
    _to: number,
    _targets: readonly TargetShape[],
    _workerEpoch: number,
  ): Promise<void> {
    throw oneGeneration(flow, this.#options.link.where);
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    const { link, prefix } = this.#options;
    return link.read(async (tx) => (await readFlow(tx, `${prefix}${flow}`, 'no-lock'))?.checkpoint);
  }

  /**
   * Refuses a target that another flow has filled. Its rows carry the fences of that flow's lane: of another lane a newer
   * row would be refused as older, without a word. Throws CONFIG_INVALID.
   */
  async #refuseTaken(tx: Tx, flow: string, names: readonly string[]): Promise<void> {
    const { prefix, link } = this.#options;
    for (const { id, targets } of await readOthers(tx, prefix, `${prefix}${flow}`)) {
      const taken = names.find((name) => targets.includes(name));
      if (taken === undefined) continue;
      const other = id.slice(prefix.length);
      throw new TallyError('CONFIG_INVALID', {
        what: `flow ${other} has filled this target`,
        where: `target ${taken} of ${link.where}, opened by flow ${flow}`,
        mend: `give each flow targets of its own; if ${other} is gone or was renamed, remove its rows and MATCH (f:_TallyFlow {id: '${id}'}) DELETE f: the target is then filled anew`,
        details: { target: taken, flow: other },
      });
    }
  }
}

function oneGeneration(flow: string, where: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `flow ${flow} can have one generation only: readers find nodes by their labels, and two cannot share them`,
    where,
    mend: 'run tally resnapshot, which compares every row in place, or let a new flow fill new targets',
    details: { capability: 'switchOver', flow },
  });
}
