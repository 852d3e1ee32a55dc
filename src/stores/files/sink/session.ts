import { TallyError } from '../../../core/errors.ts';
import { comparePositions, ORDINAL_MAX, type Position } from '../../../core/position.ts';
import { point } from '../../../observe/point.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  SinkBatch,
  SinkReport,
  SinkSession,
} from '../../../ports/sink.ts';
import { closedStore } from '../errors.ts';
import { keyBytes } from '../objects/key-path.ts';
import type { Shelf } from '../objects/shelf.ts';
import type { Trailer, Version } from '../objects/trailer.ts';
import { walkKeys, type Found } from '../objects/walk.ts';
import { applyWrites, placeVersion, type ApplyContext } from './apply.ts';
import type { FlowFiles } from './flow-files.ts';
import { targetPrefix } from './object-key.ts';

/** What a session is made of. */
export interface SessionOptions {
  readonly shelf: Shelf;
  readonly files: FlowFiles;
  readonly open: OpenSinkOptions;
  readonly rowBytesMax: number;
  /** Throws STORE_CLOSED after the store was closed. */
  readonly check: () => void;
}

/** One flow's hold on its objects. */
export class FileSinkSession implements SinkSession {
  readonly #options: SessionOptions;
  readonly #context: ApplyContext;
  #open = true;

  constructor(options: SessionOptions) {
    const { shelf, files, rowBytesMax } = options;
    this.#options = options;
    this.#context = { shelf, flow: files.flow, tombstones: files.tombstones, rowBytesMax };
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    this.#check();
    return this.#options.files.checkpoint();
  }

  /**
   * A worker that was replaced is told so before it writes anything; one that is replaced while it
   * writes does no harm, its writes carry their fences, and it is stopped at the checkpoint, which
   * is compared and replaced under the flow's lock. The checkpoint comes after the data is durable.
   * Otherwise: 1. checkpoint 42 stored 2. power lost 3. restart after 42 4. objects of 42 never written.
   */
  async apply(batch: SinkBatch): Promise<SinkReport> {
    this.#check();
    if (batch.state.length > 0) throw noFoldState();
    const { files, open } = this.#options;
    await files.checkClaim(open.workerEpoch);
    point('sink.before-apply');
    const report = await applyWrites(this.#context, batch.writes);
    point('sink.after-apply-before-checkpoint');
    if (report.failed.length > 0) return report;
    await files.alone(async () => {
      await files.checkClaim(open.workerEpoch);
      await files.writeCheckpoint(batch.checkpoint);
    });
    point('sink.after-commit');
    return report;
  }

  async readState(): Promise<readonly (string | null)[]> {
    this.#check();
    throw noFoldState();
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    await this.#checkClaim();
    const directories = new Set<string>();
    let swept = 0;
    for (const target of targets) {
      for await (const { found, version } of this.#versions(target)) {
        const isOld = (held: Trailer | undefined): boolean =>
          held?.version !== undefined &&
          held.version.deleted !== true &&
          comparePositions(held.version, before) < 0;
        if (!isOld({ size: 0, etag: '', metadata: {}, version })) continue;
        // The snapshot at `before` has seen all of that transaction: its own changes are older, too.
        const tombstone: Version = { ...version, ...before, ordinal: ORDINAL_MAX, deleted: true };
        const content = { body: new Uint8Array(), metadata: {}, version: tombstone };
        const placing = { bytes: found.bytes, content, accepts: isOld, directories };
        if ((await placeVersion(this.#context, placing)) === 'applied') swept += 1;
      }
    }
    await this.#sync(directories);
    return swept;
  }

  async prune(before: Position): Promise<number> {
    await this.#checkClaim();
    const { shelf, files } = this.#options;
    let pruned = 0;
    for await (const note of walkKeys(files.tombstones, { prefix: '', after: '' })) {
      await shelf.alone(note.bytes, async () => {
        const path = shelf.pathOf(note.bytes);
        const version = (await shelf.readPath(path))?.version;
        const isTombstone = version?.deleted === true;
        if (isTombstone && comparePositions(version, before) >= 0) return;
        if (isTombstone && (await shelf.remove(path))) pruned += 1;
        await shelf.disk.remove(note.path, files.tombstones);
      });
    }
    return pruned;
  }

  /** The checkpoint goes first: left behind without its objects it would skip them for ever. */
  async reset(): Promise<void> {
    await this.#checkClaim();
    const { shelf, files, open } = this.#options;
    await files.alone(async () => {
      await files.checkClaim(open.workerEpoch);
      await files.removeCheckpoint();
    });
    const claim = await files.claim();
    for (const target of claim?.targets ?? []) {
      for await (const { found } of this.#versions(target)) {
        await shelf.alone(found.bytes, async () => {
          const held = (await shelf.readPath(found.path))?.version;
          if (held?.flow === files.flow) await shelf.remove(found.path);
        });
      }
    }
    await shelf.removeTree(files.tombstones);
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The objects that this flow has written to a target, tombstones included. */
  async *#versions(
    target: string,
  ): AsyncGenerator<{ readonly found: Found; readonly version: Version }, void, undefined> {
    const { shelf, files } = this.#options;
    const prefix = keyBytes(targetPrefix(target));
    for await (const found of shelf.walk({ prefix, after: '' })) {
      this.#check();
      const version = (await shelf.readPath(found.path))?.version;
      if (version?.flow === files.flow && version.target === target) yield { found, version };
    }
  }

  async #sync(directories: ReadonlySet<string>): Promise<void> {
    const { disk } = this.#options.shelf;
    await Promise.all([...directories].map((directory) => disk.sync(directory)));
  }

  async #checkClaim(): Promise<void> {
    this.#check();
    await this.#options.files.checkClaim(this.#options.open.workerEpoch);
  }

  #check(): void {
    this.#options.check();
    if (!this.#open) throw closedStore(`sink of flow ${this.#options.open.flow}`);
  }
}

function noFoldState(): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: 'a store of files keeps no fold state: it cannot change it together with the objects',
    where: 'sink',
    mend: 'keep the folded projection in a transactional store, such as sqlite',
    details: { capability: 'foldState' },
  });
}
