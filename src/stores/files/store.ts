import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { checkNumber, checkOneOf, checkOptions, checkString } from '../../core/options.ts';
import { TallyError } from '../../core/errors.ts';
import type { Objects } from '../../ports/objects.ts';
import type { Sink } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import { closedStore, filesError, systemErrorCode } from './errors.ts';
import { areasOf, Disk, type Fsync } from './objects/disk.ts';
import { KeyLocks, removeIfPresent } from './objects/locks.ts';
import { FileObjects } from './objects/objects.ts';
import { registerOwner, type Owner } from './objects/owner.ts';
import { Shelf } from './objects/shelf.ts';
import { sweepLeftovers, type Swept } from './objects/sweep.ts';
import { FileSink } from './sink/sink.ts';
import { sinkSupports } from './supports.ts';
import { readVitals } from './vitals.ts';

/** Where the files are and how durable they are. */
export interface FilesOptions {
  /** The directory; it is created if it does not exist. Everything in it belongs to the store. */
  readonly dir: string;
  /** `always` (default): what is answered survives the loss of power. `os`: of the process only. */
  readonly fsync?: Fsync;
  /** The largest row that the sink takes, in bytes. Default 16 MiB; sixteen are in memory at once. */
  readonly rowBytesMax?: number;
}

/** What {@link FilesStore} gives as its client: there is no driver, only a directory. */
export interface FilesClient {
  /** The absolute path of the store's directory. */
  readonly dir: string;
}

/** An open store of files. */
export interface FilesStore extends Store<FilesClient> {
  readonly system: 'files';
  readonly objects: Objects;
  readonly sink: Sink;
  /**
   * Removes what processes that are gone left behind: temporary files, multipart uploads, locks.
   * `open` does it, too. Throws STORE_UNREACHABLE, STORE_CLOSED.
   */
  sweep(): Promise<Swept>;
}

/**
 * Declares a store of objects in a directory, with nothing to install: `objects` for any content,
 * streamed, with conditions that hold between processes; `sink` for one object per row. Several
 * processes of one machine may have it open; a directory shared by several machines is not
 * supported where its file system has no hard links or atomic renames. Throws CONFIG_INVALID,
 * CONFIG_UNKNOWN_OPTION; `open` throws STORE_UNREACHABLE, STORE_FULL.
 */
export function files(options: FilesOptions): StoreDefinition<FilesStore> {
  checkOptions(options, ['dir', 'fsync', 'rowBytesMax'], 'files');
  checkString(options.dir, 'files.dir');
  const { fsync = 'always', rowBytesMax = sinkSupports.rowBytesMax } = options;
  checkOneOf(fsync, 'files.fsync', ['always', 'os']);
  checkNumber(rowBytesMax, 'files.rowBytesMax', { min: 1024, max: 2 ** 30, integer: true });
  return {
    system: 'files',
    open: (context) => openStore(context, { dir: resolve(options.dir), fsync, rowBytesMax }),
  };
}

async function openStore(
  context: StoreContext,
  options: Required<FilesOptions>,
): Promise<FilesStore> {
  const areas = areasOf(options.dir);
  try {
    for (const area of Object.values(areas)) await mkdir(area, { recursive: true });
    const self = await registerOwner(areas.owners, context.random);
    const disk = new Disk(areas, options.fsync, self.id);
    const ownerFile = join(areas.owners, self.id);
    const shelf = new Shelf(disk, new KeyLocks(areas.locks, ownerFile, self, context.clock));
    const store = new OpenStore(context, shelf, self, options.rowBytesMax);
    await store.sweep();
    return store;
  } catch (error) {
    throw unusable(filesError(error, options.dir), options.dir);
  }
}

class OpenStore implements FilesStore {
  readonly name: string;
  readonly system = 'files';
  readonly client: FilesClient;
  readonly objects: FileObjects;
  readonly sink: FileSink;
  readonly #shelf: Shelf;
  readonly #self: Owner;
  #open = true;

  constructor(context: StoreContext, shelf: Shelf, self: Owner, rowBytesMax: number) {
    this.name = context.name;
    this.client = { dir: shelf.areas.root };
    this.objects = new FileObjects(shelf, `store ${context.name}`);
    this.sink = new FileSink(shelf, { ...sinkSupports, rowBytesMax }, `store ${context.name}`);
    this.#shelf = shelf;
    this.#self = self;
  }

  async sweep(): Promise<Swept> {
    this.#check();
    return sweepLeftovers(this.#shelf, this.#self);
  }

  async vitals(): Promise<Vitals> {
    this.#check();
    return readVitals(this.#shelf.areas);
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.sink.close();
    await this.objects.close();
    // A lock that is held ends before the file that names its owner does.
    await this.#shelf.locks.idle();
    await removeIfPresent(join(this.#shelf.areas.owners, this.#self.id)).catch(() => false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #check(): void {
    if (!this.#open) throw closedStore(`store ${this.name}`);
  }
}

/** A directory that is a file, or may not be written, is said in the words of the option. */
function unusable(error: unknown, dir: string): unknown {
  const cause = error instanceof TallyError ? error.cause : undefined;
  const code = systemErrorCode(cause);
  if (code !== 'EEXIST' && code !== 'ENOTDIR') return error;
  return new TallyError('STORE_UNREACHABLE', {
    what: 'what stands there is a file and not a directory',
    where: `files.dir ${dir}`,
    mend: 'give the path of a directory, which is created if it does not exist',
    details: { dir },
    cause,
  });
}
