import { TallyError, isTallyError } from '../../core/errors.ts';
import type { Write } from '../../core/write.ts';
import { toldKey } from '../../flow/invalidation.ts';
import { point } from '../../observe/point.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../ports/checkpoint.ts';
import type { Ledger } from '../../ports/ledger.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkBatch,
  SinkReport,
  SinkSession,
} from '../../ports/sink.ts';
import type { CacheFeed, Told, ToldKey } from './feed.ts';

const SPACE = 'cache-flows';

/** The checkpoint of a flow, and the worker that wrote it. */
interface Held {
  readonly worker: number;
  readonly checkpoint: string | null;
}

/**
 * A cache as the target of a flow of `invalidation`. Its checkpoint is in the ledger, not in the cache: a cache may lose
 * whatever it holds, and then holds nothing stale. To tell a change twice costs a load.
 */
export function cacheSink(feed: CacheFeed, ledger: Ledger): Sink {
  return {
    supports: {
      effect: 'fenced',
      ordinalFence: true,
      foldState: false,
      switchOver: false,
      // A write is a key.
      rowBytesMax: 64 * 1024,
    },
    open: (options) => CacheSession.open(feed, ledger, options),
    generation: () => Promise.resolve(undefined),
    switchTo: () => Promise.reject(new TallyError('CAPABILITY_MISSING', noSwitch)),
    peek: async (flow) => (await heldOf(ledger, flow)).checkpoint,
  };
}

const noSwitch = { what: 'a cache has one generation', mend: 'invalidate all of it instead' };

async function heldOf(
  ledger: Ledger,
  flow: string,
): Promise<{
  readonly version: number;
  readonly worker: number;
  readonly checkpoint: Checkpoint | undefined;
}> {
  const record = await ledger.get(SPACE, flow);
  if (record === undefined) return { version: 0, worker: 0, checkpoint: undefined };
  const { worker, checkpoint } = JSON.parse(record.value) as Held;
  const { version } = record;
  return {
    version,
    worker,
    checkpoint: checkpoint === null ? undefined : decodeCheckpoint(checkpoint, `flow ${flow}`),
  };
}

class CacheSession implements SinkSession {
  readonly #feed: CacheFeed;
  readonly #ledger: Ledger;
  readonly #options: OpenSinkOptions;
  #version: number;
  #checkpoint: Checkpoint | undefined;

  private constructor(
    feed: CacheFeed,
    ledger: Ledger,
    options: OpenSinkOptions,
    held: { readonly version: number; readonly checkpoint: Checkpoint | undefined },
  ) {
    this.#feed = feed;
    this.#ledger = ledger;
    this.#options = options;
    this.#version = held.version;
    this.#checkpoint = held.checkpoint;
  }

  /** Throws FENCED_OUT if a newer worker has it. */
  static async open(
    feed: CacheFeed,
    ledger: Ledger,
    options: OpenSinkOptions,
  ): Promise<CacheSession> {
    const held = await heldOf(ledger, options.flow);
    if (held.worker > options.workerEpoch) throw fencedOut(options.flow, held.worker);
    const session = new CacheSession(feed, ledger, options, held);
    // From now on the version that an older worker knows is not the present one.
    await session.#keep(held.checkpoint);
    return session;
  }

  checkpoint(): Promise<Checkpoint | undefined> {
    return Promise.resolve(this.#checkpoint);
  }

  async apply({ writes, checkpoint }: SinkBatch): Promise<SinkReport> {
    if (writes.length > 0) {
      point('sink.before-apply');
      await this.#feed.tell(toldOf(writes));
      point('sink.after-apply-before-checkpoint');
    }
    await this.#keep(checkpoint);
    point('sink.after-commit');
    return { applied: writes.length, older: 0, failed: [] };
  }

  readState(names: readonly string[]): Promise<readonly null[]> {
    return Promise.resolve(names.map(() => null));
  }

  sweep(): Promise<number> {
    return Promise.resolve(0);
  }

  prune(): Promise<number> {
    return Promise.resolve(0);
  }

  /** The checkpoint goes first: nobody is to believe that a cache has been told of what it may be about to forget. */
  async reset(): Promise<void> {
    await this.#keep(undefined);
    point('sink.mid-reset');
    await this.#feed.forget();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #keep(checkpoint: Checkpoint | undefined): Promise<void> {
    const { flow, workerEpoch } = this.#options;
    const held: Held = {
      worker: workerEpoch,
      checkpoint: checkpoint === undefined ? null : encodeCheckpoint(checkpoint),
    };
    try {
      const [version = 0] = await this.#ledger.commit([
        {
          kind: 'put',
          space: SPACE,
          key: flow,
          value: JSON.stringify(held),
          ifVersion: this.#version,
        },
      ]);
      this.#version = version;
      this.#checkpoint = checkpoint;
    } catch (error) {
      if (!isTallyError(error, 'LEDGER_CONFLICT')) throw error;
      throw fencedOut(flow, (await heldOf(this.#ledger, flow)).worker, error);
    }
  }
}

function fencedOut(flow: string, holder: number, cause?: unknown): TallyError {
  return new TallyError('FENCED_OUT', {
    what: 'another worker has taken the flow over',
    where: `flow ${flow}`,
    details: { holder },
    ...(cause === undefined ? {} : { cause }),
  });
}

function toldOf(writes: readonly Write[]): Told {
  const keys: ToldKey[] = [];
  const tags: string[] = [];
  let unclear: string | undefined;
  for (const { target, key, row, epoch, offset } of writes) {
    const text = String(key[0]);
    if (target === 'tags') tags.push(text);
    else if (target === 'keys') {
      const [namespace, of] = toldKey(text);
      // A row that is gone has nothing to load, and no newer value that its fence could spare.
      const lane = typeof row?.['lane'] === 'string' ? row['lane'] : undefined;
      const load = row?.['load'] === true;
      keys.push({ namespace, key: of, lane, at: { epoch, offset }, load });
    } else unclear = typeof row?.['reason'] === 'string' ? row['reason'] : 'it was not told';
  }
  return { keys, tags, unclear };
}
