import { TallyError } from '../../../core/errors.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../../ports/sink.ts';
import { closedStore } from '../errors.ts';
import type { Shelf } from '../objects/shelf.ts';
import { FlowFiles, flowDirectories } from './flow-files.ts';
import { FileSinkSession } from './session.ts';

/** The sink of a store of files: one object for each row, at `target/key`. */
export class FileSink implements Sink {
  readonly supports: SinkSupports;
  readonly #shelf: Shelf;
  readonly #where: string;
  #open = true;

  constructor(shelf: Shelf, supports: SinkSupports, where: string) {
    this.#shelf = shelf;
    this.supports = supports;
    this.#where = where;
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    const { flow, generation, workerEpoch } = options;
    const files = this.#files(flow);
    await this.#checkOthers(options);
    await files.alone(async () => {
      await files.checkClaim(workerEpoch);
      const held = await files.claim();
      if (held !== undefined && held.generation !== generation) throw oneGeneration(flow);
      const targets = new Set(held?.targets);
      for (const { target } of options.targets) targets.add(target);
      await files.writeClaim({ workerEpoch, generation, targets: [...targets] });
    });
    return new FileSinkSession({
      shelf: this.#shelf,
      files,
      open: options,
      rowBytesMax: this.supports.rowBytesMax,
      check: () => this.#check(),
    });
  }

  async generation(flow: string): Promise<number | undefined> {
    return (await this.#files(flow).claim())?.generation;
  }

  async switchTo(
    flow: string,
    _to: number,
    _targets: readonly TargetShape[],
    _workerEpoch: number,
  ): Promise<void> {
    this.#check();
    throw oneGeneration(flow);
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    return this.#files(flow).checkpoint();
  }

  /** Ends it and its sessions. */
  close(): void {
    this.#open = false;
  }

  /**
   * Refuses a target that another flow has filled: its objects carry the versions of that flow's lane, and a
   * newer one of another lane would be refused as older, without a word. Throws CONFIG_INVALID.
   */
  async #checkOthers({ flow, targets }: OpenSinkOptions): Promise<void> {
    for (const directory of await flowDirectories(this.#shelf)) {
      const other = new FlowFiles(this.#shelf, flow, directory);
      if (directory === this.#files(flow).directory) continue;
      const claimed = (await other.claim())?.targets ?? [];
      const taken = targets.find(({ target }) => claimed.includes(target));
      if (taken === undefined) continue;
      throw new TallyError('CONFIG_INVALID', {
        what: 'another flow has filled this target',
        where: `target ${taken.target} of ${this.#where}, opened by flow ${flow}`,
        mend: `give each flow targets of its own; if the other flow is gone or was renamed, remove ${directory} and the objects of the target: it is then filled anew`,
        details: { target: taken.target, flow, directory },
      });
    }
  }

  #files(flow: string): FlowFiles {
    this.#check();
    return new FlowFiles(this.#shelf, flow);
  }

  #check(): void {
    if (!this.#open) throw closedStore(this.#where);
  }
}

function oneGeneration(flow: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `flow ${flow} can have one generation only: readers find objects by their keys, and two cannot share them`,
    where: 'sink',
    mend: 'reset the flow and let it fill the same target again, or let a new flow write to a new target',
    details: { capability: 'switchOver', flow },
  });
}
