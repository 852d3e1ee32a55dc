import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { filesError, isAbsent } from '../errors.ts';
import { compareEntries, readName, type Entry, type KeyBytes } from './key-path.ts';

/** Names of one directory that are held at once; a larger directory is read again for each so many. */
const PAGE_NAMES = 16_384;

/** Which keys to visit: those that start with `prefix` and come after `after`. */
export interface WalkQuery {
  readonly prefix: KeyBytes;
  readonly after: KeyBytes;
}

/** A key's file. */
export interface Found {
  readonly bytes: KeyBytes;
  readonly path: string;
}

interface Frame {
  readonly directory: string;
  readonly base: KeyBytes;
  page: readonly Entry[];
  next: number;
  more: boolean;
}

/**
 * The files of keys below `root`, in byte order of the keys. Memory is bounded by {@link PAGE_NAMES}
 * names for each level of directories. What is added or removed meanwhile may be seen or not.
 */
export async function* walkKeys(
  root: string,
  query: WalkQuery,
): AsyncGenerator<Found, void, undefined> {
  const stack: Frame[] = [];
  await descend(stack, root, '', query);
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    const entry = frame.page[frame.next];
    if (entry === undefined) {
      const last = frame.page.at(-1);
      if (!frame.more || last === undefined) {
        stack.pop();
        continue;
      }
      Object.assign(frame, await readPage(frame.directory, frame.base, query, last), { next: 0 });
      continue;
    }
    frame.next += 1;
    const path = join(frame.directory, entry.name);
    const bytes = frame.base + entry.slice;
    if (entry.kind === 'file') yield { bytes, path };
    else await descend(stack, path, bytes, query);
  }
}

async function descend(
  stack: Frame[],
  directory: string,
  base: KeyBytes,
  query: WalkQuery,
): Promise<void> {
  const page = await readPage(directory, base, query, undefined);
  stack.push({ directory, base, ...page, next: 0 });
}

/** The first names of a directory, in order, that come after `from` and that the query wants. */
async function readPage(
  directory: string,
  base: KeyBytes,
  query: WalkQuery,
  from: Entry | undefined,
): Promise<{ readonly page: readonly Entry[]; readonly more: boolean }> {
  let page: Entry[] = [];
  let more = false;
  try {
    for await (const { name } of await opendir(directory, { bufferSize: 256 })) {
      const entry = readName(name);
      if (entry === undefined || !wants(entry, base + entry.slice, query)) continue;
      if (from !== undefined && compareEntries(entry, from) <= 0) continue;
      page.push(entry);
      if (page.length < 2 * PAGE_NAMES) continue;
      page = page.toSorted(compareEntries).slice(0, PAGE_NAMES);
      more = true;
    }
  } catch (error) {
    if (!isAbsent(error)) throw filesError(error, directory);
  }
  page = page.toSorted(compareEntries);
  if (page.length > PAGE_NAMES) {
    page = page.slice(0, PAGE_NAMES);
    more = true;
  }
  return { page, more };
}

function wants({ kind }: Entry, bytes: KeyBytes, { prefix, after }: WalkQuery): boolean {
  if (kind === 'file') return bytes.startsWith(prefix) && bytes > after;
  // Below a directory are the keys that start with its bytes and are longer.
  if (!bytes.startsWith(prefix) && !prefix.startsWith(bytes)) return false;
  return bytes > after || after.startsWith(bytes);
}
