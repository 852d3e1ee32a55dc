import { TallyError } from '../../core/errors.ts';
import type {
  MultipartUpload,
  ObjectInfo,
  Objects,
  ObjectsSupports,
  PutOptions,
} from '../../ports/objects.ts';
import {
  checkHasParts,
  checkMetadata,
  checkObjectKey,
  checkPartNumber,
  checkRange,
} from './object-limits.ts';
import type { Connection, ObjectState } from './state.ts';

type Body = AsyncIterable<Uint8Array> | Uint8Array;

const PIECE_BYTES = 64 * 2 ** 10;

/** What the memory objects can do. */
export const memoryObjectsSupports: ObjectsSupports = {
  conditionalPut: true,
  multipart: true,
  objectBytesMax: 256 * 2 ** 20,
};

/** The object side of a memory store. Objects are held whole, so memory is bounded by their limit only. */
export class MemoryObjects implements Objects {
  readonly supports: ObjectsSupports = memoryObjectsSupports;
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async put(key: string, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    this.#connection.check();
    checkObjectKey(key);
    checkMetadata(key, options.metadata);
    return this.#store(key, await collect(body, key, options.signal), options);
  }

  async get(
    key: string,
    options: { readonly range?: { readonly start: number; readonly end?: number } } = {},
  ): Promise<{ readonly info: ObjectInfo; readonly body: AsyncIterable<Uint8Array> } | undefined> {
    checkObjectKey(key);
    checkRange(options.range);
    const found = await this.#unit('get', 0, (objects) => objects.get(key));
    if (found === undefined) return undefined;
    const { start = 0, end = found.body.length } = options.range ?? {};
    return { info: infoOf(key, found), body: pieces(found.body.subarray(start, end)) };
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    checkObjectKey(key);
    return this.#unit('head', 0, (objects) => {
      const found = objects.get(key);
      return found === undefined ? undefined : infoOf(key, found);
    });
  }

  async delete(key: string, options: { readonly ifMatch?: string } = {}): Promise<boolean> {
    checkObjectKey(key);
    return this.#unit('delete', 1, (objects) => {
      checkCondition(key, objects.get(key), options);
      return objects.delete(key);
    });
  }

  async *list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): AsyncIterable<ObjectInfo> {
    const { after, limit = Infinity } = options;
    const found = await this.#unit('list', 0, (objects) =>
      [...objects]
        .filter(
          ([key]) => key.startsWith(prefix) && (after === undefined || byBytes(key, after) > 0),
        )
        .toSorted(([left], [right]) => byBytes(left, right))
        .slice(0, limit)
        .map(([key, object]) => infoOf(key, object)),
    );
    yield* found;
  }

  async createMultipart(key: string): Promise<MultipartUpload> {
    checkObjectKey(key);
    const uploadId = await this.#unit('createMultipart', 1, () => `upload-${this.#next()}`);
    const parts = new Map<number, Uint8Array>();
    let open = true;
    const check = (): void => {
      if (open) return;
      throw new TallyError('STORE_CLOSED', {
        what: 'the upload has ended',
        where: key,
        mend: 'start a new one',
      });
    };
    return {
      uploadId,
      part: async (number, body) => {
        check();
        checkPartNumber(number);
        const bytes = await collect(body, key, undefined);
        const etag = await this.#unit('part', 1, () => {
          check();
          parts.set(number, bytes);
          return `part-${this.#next()}`;
        });
        return { etag, size: bytes.length };
      },
      complete: async (options = {}) => {
        check();
        checkHasParts(key, parts.size);
        checkMetadata(key, options.metadata);
        const ordered = [...parts]
          .toSorted(([left], [right]) => left - right)
          .map(([, bytes]) => bytes);
        const info = await this.#store(key, bounded(ordered, key), options);
        open = false;
        return info;
      },
      abort: async () => {
        open = false;
        parts.clear();
        await Promise.resolve();
      },
    };
  }

  /** The condition is looked at in the same unit that puts the object in: two writers cannot both win. */
  #store(key: string, body: Uint8Array, options: PutOptions): Promise<ObjectInfo> {
    return this.#unit('put', 1, (objects) => {
      if (options.signal?.aborted === true) throw abortedPut(key);
      checkCondition(key, objects.get(key), options);
      const object: ObjectState = {
        body,
        etag: `etag-${this.#next()}`,
        metadata: { ...options.metadata },
      };
      objects.set(key, object);
      return infoOf(key, object);
    });
  }

  #next(): number {
    return (this.#connection.state.sequence += 1);
  }

  #unit<Result>(
    operation: string,
    size: number,
    action: (objects: Map<string, ObjectState>) => Result,
  ): Promise<Result> {
    const { state } = this.#connection;
    return this.#connection.unit({ port: 'objects', operation, size }, () => action(state.objects));
  }
}

function checkCondition(
  key: string,
  present: ObjectState | undefined,
  { ifMatch, ifNoneMatch }: { readonly ifMatch?: string; readonly ifNoneMatch?: '*' },
): void {
  const matches =
    ifMatch === undefined ||
    (present !== undefined && (ifMatch === '*' || ifMatch === present.etag));
  if (matches && (ifNoneMatch === undefined || present === undefined)) return;
  throw new TallyError('CONDITION_FAILED', {
    what:
      present === undefined ? 'there is no such object' : 'the object is another one than expected',
    where: key,
    mend: 'look at it again and decide anew',
  });
}

async function collect(
  body: Body,
  key: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return bounded([body], key);
  const parts: Uint8Array[] = [];
  for await (const part of body) {
    if (signal?.aborted === true) throw abortedPut(key);
    // A stream may reuse its buffer for the next part.
    parts.push(new Uint8Array(part));
  }
  return bounded(parts, key);
}

function bounded(parts: readonly Uint8Array[], key: string): Uint8Array {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  if (size > memoryObjectsSupports.objectBytesMax)
    throw new TallyError('ROW_TOO_LARGE', {
      what: `an object of ${size} bytes is over the limit of ${memoryObjectsSupports.objectBytesMax}`,
      where: key,
      mend: 'keep it in a store of files',
    });
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function* pieces(body: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += PIECE_BYTES) {
    await Promise.resolve();
    yield body.slice(at, at + PIECE_BYTES);
  }
}

function infoOf(key: string, { body, etag, metadata }: ObjectState): ObjectInfo {
  return { key, size: body.length, etag, metadata };
}

function abortedPut(key: string): TallyError {
  return new TallyError('ABORTED', { what: 'the upload was given up', where: key });
}

function byBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
