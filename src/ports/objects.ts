export interface ObjectsSupports {
  readonly conditionalPut: boolean;
  readonly multipart: boolean;
  readonly objectBytesMax: number;
}

export interface ObjectInfo {
  readonly key: string;
  readonly size: number;
  /** Changes with the content; compare for equality only. */
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface PutOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Only if the object has this etag now; '*': only if it exists. */
  readonly ifMatch?: string;
  /** Only if there is no such object. */
  readonly ifNoneMatch?: '*';
  readonly signal?: AbortSignal;
}

/** A multipart upload: parts may arrive in any order and be retried; nothing is visible until `complete`. */
export interface MultipartUpload {
  readonly uploadId: string;
  /** Part numbers from 1. Sending a number again replaces that part. */
  part(
    number: number,
    body: AsyncIterable<Uint8Array> | Uint8Array,
  ): Promise<{ readonly etag: string; readonly size: number }>;
  /** Joins the parts in the order of their numbers. Throws CONDITION_FAILED like `put`. */
  complete(options?: PutOptions): Promise<ObjectInfo>;
  abort(): Promise<void>;
}

/**
 * Objects by key, streamed in both directions: memory is bounded whatever their size. A key
 * is a well-formed text of 1 to 1024 bytes in UTF-8 and has no structure; VALUE_UNSUPPORTED otherwise.
 */
export interface Objects {
  readonly supports: ObjectsSupports;
  /** Atomic: a reader sees the old object or the whole new one. Throws CONDITION_FAILED, STORE_FULL. */
  put(
    key: string,
    body: AsyncIterable<Uint8Array> | Uint8Array,
    options?: PutOptions,
  ): Promise<ObjectInfo>;
  /**
   * Undefined if there is no such object. `range.end` is the first byte that is not wanted; a range
   * past the end is cut. A body that is not read to its end must be given up (`return`, or `break`
   * out of the loop): it may hold a file or a connection open.
   */
  get(
    key: string,
    options?: { readonly range?: { readonly start: number; readonly end?: number } },
  ): Promise<{ readonly info: ObjectInfo; readonly body: AsyncIterable<Uint8Array> } | undefined>;
  head(key: string): Promise<ObjectInfo | undefined>;
  delete(key: string, options?: { readonly ifMatch?: string }): Promise<boolean>;
  /** In byte order of keys. */
  list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): AsyncIterable<ObjectInfo>;
  createMultipart(key: string): Promise<MultipartUpload>;
}
