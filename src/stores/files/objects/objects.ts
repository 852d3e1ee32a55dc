import type { FileHandle } from 'node:fs/promises';
import { TallyError } from '../../../core/errors.ts';
import type {
  MultipartUpload,
  ObjectInfo,
  Objects,
  ObjectsSupports,
  PutOptions,
} from '../../../ports/objects.ts';
import { closedStore } from '../errors.ts';
import { objectsSupports } from '../supports.ts';
import { openBody, type ByteRange } from './body.ts';
import { aborted, type Draft } from './disk.ts';
import { keyBytes, type KeyBytes } from './key-path.ts';
import { openUpload } from './multipart.ts';
import type { Shelf } from './shelf.ts';
import { checkMetadata, infoOf, type Trailer } from './trailer.ts';
import type { Found } from './walk.ts';

/** Trailers read at once while listing. */
const LIST_AHEAD = 16;

/** Objects in the file system. */
export class FileObjects implements Objects {
  readonly supports: ObjectsSupports = objectsSupports;
  readonly #shelf: Shelf;
  readonly #where: string;
  readonly #opened: Set<FileHandle> = new Set();
  #open = true;

  constructor(shelf: Shelf, where: string) {
    this.#shelf = shelf;
    this.#where = where;
  }

  async put(
    key: string,
    body: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions = {},
  ): Promise<ObjectInfo> {
    const bytes = this.#check(key);
    const { metadata = {}, signal } = options;
    checkMetadata(metadata);
    if (signal?.aborted === true) throw aborted(signal);
    // A lost condition is told before gigabytes are streamed; what decides is the look under the lock.
    await this.#precheck(bytes, options);
    const content = {
      body,
      metadata: { ...metadata },
      ...(signal === undefined ? {} : { signal }),
    };
    return this.place(bytes, await this.#shelf.disk.draft(content), options);
  }

  /** Puts a finished draft in place, if the conditions hold. */
  async place(bytes: KeyBytes, draft: Draft, options: PutOptions): Promise<ObjectInfo> {
    const conditional = options.ifMatch !== undefined || options.ifNoneMatch !== undefined;
    const allow = (held: Trailer | undefined): void => checkConditions(bytes, held, options);
    await this.#shelf.place(bytes, draft, conditional ? allow : undefined);
    return infoOf(bytes, draft.trailer);
  }

  async get(
    key: string,
    options: { readonly range?: ByteRange } = {},
  ): Promise<{ readonly info: ObjectInfo; readonly body: AsyncIterable<Uint8Array> } | undefined> {
    const bytes = this.#check(key);
    const path = this.#shelf.pathOf(bytes);
    const opened = await openBody(path, options.range, isVisible, this.#opened);
    if (opened === undefined) return undefined;
    return { info: infoOf(bytes, opened.trailer), body: opened.body };
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const bytes = this.#check(key);
    const trailer = await this.#shelf.read(bytes);
    return trailer !== undefined && isVisible(trailer) ? infoOf(bytes, trailer) : undefined;
  }

  async delete(key: string, options: { readonly ifMatch?: string } = {}): Promise<boolean> {
    const bytes = this.#check(key);
    return this.#shelf.alone(bytes, async () => {
      const held = await this.#shelf.read(bytes);
      checkConditions(bytes, held, options);
      if (held === undefined || !isVisible(held)) return false;
      return this.#shelf.remove(this.#shelf.pathOf(bytes));
    });
  }

  async *list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): AsyncGenerator<ObjectInfo, void, undefined> {
    const { after = '', limit = Infinity } = options;
    if (limit !== Infinity && (!Number.isSafeInteger(limit) || limit < 0)) throw badLimit(limit);
    const query = { prefix: this.#bound(prefix), after: this.#bound(after) };
    let left = limit;
    let ahead: Found[] = [];
    if (left === 0) return;
    for await (const found of this.#shelf.walk(query)) {
      ahead.push(found);
      if (ahead.length < Math.min(LIST_AHEAD, left)) continue;
      for (const info of await this.#infos(ahead)) {
        yield info;
        left -= 1;
        if (left === 0) return;
      }
      ahead = [];
    }
    for (const info of await this.#infos(ahead)) {
      if (left === 0) return;
      yield info;
      left -= 1;
    }
  }

  async createMultipart(key: string): Promise<MultipartUpload> {
    const bytes = this.#check(key);
    return openUpload({ shelf: this.#shelf, objects: this, bytes, check: () => this.#checkOpen() });
  }

  /** Ends it; bodies that are being read end with STORE_UNREACHABLE. Idempotent. */
  async close(): Promise<void> {
    this.#open = false;
    const files = [...this.#opened];
    this.#opened.clear();
    await Promise.all(files.map((file) => file.close()));
  }

  async #infos(found: readonly Found[]): Promise<readonly ObjectInfo[]> {
    this.#checkOpen();
    const trailers = await Promise.all(found.map(({ path }) => this.#shelf.readPath(path)));
    return found.flatMap(({ bytes }, index) => {
      const trailer = trailers[index];
      return trailer !== undefined && isVisible(trailer) ? [infoOf(bytes, trailer)] : [];
    });
  }

  async #precheck(bytes: KeyBytes, options: PutOptions): Promise<void> {
    if (options.ifMatch === undefined && options.ifNoneMatch === undefined) return;
    checkConditions(bytes, await this.#shelf.read(bytes), options);
  }

  #check(key: string): KeyBytes {
    this.#checkOpen();
    return keyBytes(key);
  }

  #bound(text: string): KeyBytes {
    this.#checkOpen();
    return text === '' ? '' : keyBytes(text);
  }

  #checkOpen(): void {
    if (!this.#open) throw closedStore(this.#where);
  }
}

/** A tombstone of the sink is no object to anybody. */
function isVisible(trailer: Trailer): boolean {
  return trailer.version?.deleted !== true;
}

function checkConditions(
  bytes: KeyBytes,
  held: Trailer | undefined,
  { ifMatch, ifNoneMatch }: Pick<PutOptions, 'ifMatch' | 'ifNoneMatch'>,
): void {
  const etag = held !== undefined && isVisible(held) ? held.etag : undefined;
  if (ifNoneMatch !== undefined && etag !== undefined)
    throw lost(bytes, 'there is an object already', etag);
  if (ifMatch === undefined) return;
  if (etag === undefined) throw lost(bytes, 'there is no object', etag);
  if (ifMatch !== '*' && ifMatch !== etag) throw lost(bytes, 'the object has changed', etag);
}

function lost(bytes: KeyBytes, what: string, etag: string | undefined): TallyError {
  const key = Buffer.from(bytes, 'latin1').toString('utf8');
  return new TallyError('CONDITION_FAILED', {
    what,
    where: `object ${JSON.stringify(key)}`,
    mend: 'read the object again, decide again, and repeat with its present etag',
    details: { key, ...(etag === undefined ? {} : { etag }) },
  });
}

function badLimit(limit: number): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `a list cannot be limited to ${limit} objects`,
    where: 'list.limit',
    mend: 'give a whole number from 0',
  });
}
