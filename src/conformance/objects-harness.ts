import assert from 'node:assert/strict';
import { isTallyError, type ErrorCode } from '../core/errors.ts';
import type { ObjectInfo, Objects, ObjectsSupports } from '../ports/objects.ts';
import type { SuiteRunner } from './harness.ts';

/** One store of objects under test: durable state that outlives the connections made to it. */
export interface ObjectsSubject {
  /** Belongs to the present connection. */
  readonly objects: Objects;
  /** Drops the connection as a crash would, and connects to the same durable state again. */
  reopen(): Promise<void>;
  /** Ends the present connection in good order; what it gave out is then refused. */
  close(): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** What {@link objectsConformance} needs of an adapter. */
export interface ObjectsConformanceOptions extends SuiteRunner {
  /** The adapter's manifest: decides which of each pair of cases runs. */
  readonly supports: ObjectsSupports;
  /** A fresh, empty subject. */
  readonly open: () => Promise<ObjectsSubject>;
}

/** One named policy of the suite. Two cases with one id are a pair: what a store does, or how it refuses. */
export interface ObjectsCase {
  readonly id: string;
  readonly policy: string;
  readonly when?: (supports: ObjectsSupports) => boolean;
  readonly run: (bench: ObjectsBench) => Promise<void>;
}

/** Text as bytes. */
export function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, 'utf8');
}

/** Chunks one after another, each on a turn of its own. */
export async function* streamOf(
  ...chunks: readonly Uint8Array[]
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

/** All of a body in one piece. */
export async function gather(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Asserts that a promise rejects with this code. */
export async function refuses(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isTallyError(error, code), `expected ${code}, got ${String(error)}`);
    return true;
  });
}

/** A subject with the steps that cases are written in. */
export class ObjectsBench {
  readonly subject: ObjectsSubject;
  readonly supports: ObjectsSupports;

  constructor(subject: ObjectsSubject, supports: ObjectsSupports) {
    this.subject = subject;
    this.supports = supports;
  }

  get objects(): Objects {
    return this.subject.objects;
  }

  put(key: string, text: string): Promise<ObjectInfo> {
    return this.objects.put(key, bytesOf(text));
  }

  /** The whole content as text; undefined if there is no object. */
  async text(key: string): Promise<string | undefined> {
    const got = await this.objects.get(key);
    return got === undefined ? undefined : (await gather(got.body)).toString('utf8');
  }

  async keys(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<readonly string[]> {
    const keys: string[] = [];
    for await (const { key } of this.objects.list(prefix, options)) keys.push(key);
    return keys;
  }
}
