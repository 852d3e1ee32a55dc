import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isTallyError, TallyError } from '../../../core/errors.ts';
import type { MultipartUpload, ObjectInfo, PutOptions } from '../../../ports/objects.ts';
import { closedStore, filesError } from '../errors.ts';
import { openBody } from './body.ts';
import { aborted, type Draft } from './disk.ts';
import type { KeyBytes } from './key-path.ts';
import type { Shelf } from './shelf.ts';
import { checkMetadata } from './trailer.ts';

/** As S3 has it. */
const PART_NUMBER_MAX = 10_000;

/** What an upload needs of the store it belongs to. */
export interface UploadOptions {
  readonly shelf: Shelf;
  readonly objects: {
    place(bytes: KeyBytes, draft: Draft, options: PutOptions): Promise<ObjectInfo>;
  };
  readonly bytes: KeyBytes;
  /** Throws STORE_CLOSED after the store was closed. */
  readonly check: () => void;
}

/** Begins a multipart upload: a directory of its own, whose name says whose it is. */
export async function openUpload(options: UploadOptions): Promise<MultipartUpload> {
  const { disk, areas } = options.shelf;
  const uploadId = disk.temporaryName();
  const directory = join(areas.uploads, uploadId);
  await disk.makeDirectory(directory);
  return new FileUpload(options, uploadId, directory);
}

/**
 * Parts are files of their own, each replaced whole when it is sent again. `complete` copies them,
 * in order, into one draft: the object is then like any other, and costs one more pass of the disk.
 */
class FileUpload implements MultipartUpload {
  readonly uploadId: string;
  readonly #options: UploadOptions;
  readonly #directory: string;
  #open = true;

  constructor(options: UploadOptions, uploadId: string, directory: string) {
    this.uploadId = uploadId;
    this.#options = options;
    this.#directory = directory;
  }

  async part(
    number: number,
    body: AsyncIterable<Uint8Array> | Uint8Array,
  ): Promise<{ readonly etag: string; readonly size: number }> {
    this.#check();
    if (!Number.isSafeInteger(number) || number < 1 || number > PART_NUMBER_MAX)
      throw refused(
        `${number} is not the number of a part`,
        `number parts from 1 to ${PART_NUMBER_MAX}`,
      );
    const { disk } = this.#options.shelf;
    const draft = await disk.draft({ body, metadata: {} });
    try {
      this.#check();
      await disk.move(draft.path, join(this.#directory, partName(number)));
    } catch (error) {
      await disk.discard(draft.path);
      // Ended while the part was on its way: its directory is gone.
      if (!this.#open && !isTallyError(error, 'STORE_CLOSED')) throw closedStore(this.#where());
      throw error;
    }
    return { etag: draft.trailer.etag, size: draft.trailer.size };
  }

  async complete(options: PutOptions = {}): Promise<ObjectInfo> {
    this.#check();
    const { shelf, objects, bytes } = this.#options;
    const { metadata = {}, signal } = options;
    checkMetadata(metadata);
    if (signal?.aborted === true) throw aborted(signal);
    const parts = await this.#parts();
    if (parts.length === 0)
      throw refused('the upload has no parts', 'send at least one part, which may be empty');
    const body = joined(parts);
    const draft = await shelf.disk.draft({
      body,
      metadata: { ...metadata },
      ...(signal === undefined ? {} : { signal }),
    });
    const info = await objects.place(bytes, draft, options);
    await this.#end();
    return info;
  }

  async abort(): Promise<void> {
    if (this.#open) await this.#end();
  }

  async #end(): Promise<void> {
    this.#open = false;
    await this.#options.shelf.removeTree(this.#directory);
  }

  async #parts(): Promise<readonly string[]> {
    try {
      const names = await readdir(this.#directory);
      return names.toSorted().map((name) => join(this.#directory, name));
    } catch (error) {
      throw filesError(error, this.#directory);
    }
  }

  #check(): void {
    this.#options.check();
    if (!this.#open) throw closedStore(this.#where());
  }

  #where(): string {
    return `upload ${this.uploadId}`;
  }
}

async function* joined(paths: readonly string[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const path of paths) {
    const opened = new Set<Awaited<ReturnType<typeof open>>>();
    const part = await openBody(path, undefined, () => true, opened);
    if (part === undefined)
      throw new TallyError('STORE_CORRUPT', {
        what: 'a part of an upload has vanished',
        where: path,
        mend: 'upload the object again; nothing removes parts of an upload whose process lives',
      });
    yield* part.body;
  }
}

/** Names of one width sort as their numbers do. */
function partName(number: number): string {
  return String(number).padStart(String(PART_NUMBER_MAX).length, '0');
}

function refused(what: string, mend: string): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', { what, where: 'multipart upload', mend });
}
