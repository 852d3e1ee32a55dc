import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { decodeValue, encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import type { Value } from '../../../core/row.ts';
import { point } from '../../../observe/point.ts';
import type { Checkpoint } from '../../../ports/sink.ts';
import { corruptFile, filesError, isAbsent } from '../errors.ts';
import { safeName } from '../objects/key-path.ts';
import { removeIfPresent } from '../objects/locks.ts';
import type { Shelf } from '../objects/shelf.ts';

/** Who may apply to a flow's target, and what the flow has written to. */
export interface Claim {
  readonly workerEpoch: number;
  readonly generation: number;
  /** Every target that any session of the flow has opened: what `reset` empties. */
  readonly targets: readonly string[];
}

/** The directories of all flows that the store knows. */
export async function flowDirectories(shelf: Shelf): Promise<readonly string[]> {
  const { flows } = shelf.areas;
  try {
    return (await readdir(flows)).map((name) => join(flows, name));
  } catch (error) {
    if (isAbsent(error)) return [];
    throw filesError(error, flows);
  }
}

/**
 * The state of one flow, beside the objects and not among them: the claim of its worker, its
 * checkpoint, and the names of its tombstones. A file of state is replaced whole by a rename.
 */
export class FlowFiles {
  readonly flow: string;
  /** Where all of it is. */
  readonly directory: string;
  /** Where the names of tombstones are kept, by the paths of their keys. */
  readonly tombstones: string;
  readonly #shelf: Shelf;
  readonly #claim: string;
  readonly #checkpoint: string;

  constructor(shelf: Shelf, flow: string, directory?: string) {
    this.flow = flow;
    this.directory = directory ?? join(shelf.areas.flows, safeName(flow));
    this.tombstones = join(this.directory, 'tombstones');
    this.#shelf = shelf;
    this.#claim = join(this.directory, 'claim.json');
    this.#checkpoint = join(this.directory, 'checkpoint.json');
  }

  /** Runs `work` alone among all who claim the flow or move its checkpoint. */
  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await this.#shelf.locks.hold(`flow:${this.flow}`, work);
    } catch (error) {
      throw filesError(error, this.#shelf.areas.locks);
    }
  }

  async claim(): Promise<Claim | undefined> {
    return (await this.#read(this.#claim)) as Claim | undefined;
  }

  async writeClaim(claim: Claim): Promise<void> {
    await this.#write(this.#claim, JSON.stringify(claim), () => undefined);
  }

  /** Throws FENCED_OUT if a newer worker has claimed the flow. */
  async checkClaim(workerEpoch: number): Promise<void> {
    const claim = await this.claim();
    if (claim === undefined || claim.workerEpoch <= workerEpoch) return;
    throw new TallyError('FENCED_OUT', {
      what: `worker epoch ${claim.workerEpoch} has taken over flow ${this.flow} from ${workerEpoch}`,
      where: this.#claim,
      mend: 'stop this worker; it may go on only under a newer lease',
      details: { flow: this.flow, holder: claim.workerEpoch, workerEpoch },
    });
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    const stored = await this.#read(this.#checkpoint);
    if (stored === undefined) return undefined;
    const { log, last, through, backfill } = stored as unknown as Checkpoint;
    return { log, last, through, backfill };
  }

  /** Replaces the checkpoint. Call it under the flow's lock, after its data is durable. */
  async writeCheckpoint(checkpoint: Checkpoint): Promise<void> {
    const given = Object.entries(checkpoint).filter(([, value]) => value !== undefined);
    const text = encodeValue(Object.fromEntries(given));
    await this.#write(this.#checkpoint, text, () => point('sink.after-checkpoint-before-commit'));
  }

  async removeCheckpoint(): Promise<void> {
    try {
      await removeIfPresent(this.#checkpoint);
    } catch (error) {
      throw filesError(error, this.#checkpoint);
    }
    await this.#shelf.disk.sync(dirname(this.#checkpoint));
  }

  async #read(path: string): Promise<Value | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw filesError(error, path);
    }
    try {
      return decodeValue(text);
    } catch (cause) {
      throw corruptFile(path, 'the state of a flow is damaged', cause);
    }
  }

  async #write(path: string, text: string, beforeRename: () => void): Promise<void> {
    const { disk } = this.#shelf;
    const draft = await disk.draftText(text);
    try {
      beforeRename();
      await disk.place(draft, path);
    } catch (error) {
      await disk.discard(draft);
      throw error;
    }
    await disk.sync(dirname(path));
  }
}
