import { compareBytes } from '../../../core/byte-order.ts';
import { isTallyError, TallyError } from '../../../core/errors.ts';
import { readStats } from '../link.ts';
import type { MemcachedParts } from '../parts.ts';
import type { Connection } from '../wire/connection.ts';

/** Names held in memory by one pass over the keys of the server: some ten megabytes. */
const PASS_KEYS_MAX = 100_000;
/** Memcached has one crawler, which others, its own maintenance among them, may be using. */
const BUSY_TRIES_MAX = 100;
const BUSY_WAIT_MS = 50;

/**
 * Names of keys that start with `prefix`, in byte order, at most `limit`. Memcached has no order and no way to ask for a
 * part: each pass has it dump the names of all its keys, on a connection of its own, and keeps the smallest that come after
 * the last pass.
 *
 * A key that is moved within Memcached's lists meanwhile may be missed: this is for people and repairs. Throws
 * CAPABILITY_MISSING if dumps are turned off (`-X`), STORE_BUSY if the crawler does not come free.
 */
export async function* listKeys(
  parts: MemcachedParts,
  prefix: string,
  limit: number,
): AsyncGenerator<string> {
  if (limit === 0) return;
  const connection = await parts.link.connect();
  try {
    let after: string | undefined;
    for (let left = limit; left > 0;) {
      const room = Math.min(PASS_KEYS_MAX, left);
      const page = await smallest(connection, parts, { prefix, after, room });
      yield* page.names;
      if (!page.isFull) return;
      after = page.last;
      left -= page.names.length;
    }
  } finally {
    connection.destroy(new TallyError('STORE_CLOSED', { what: 'the listing has ended' }));
  }
}

interface Wanted {
  readonly prefix: string;
  readonly after: string | undefined;
  readonly room: number;
}

interface Page {
  readonly names: readonly string[];
  /** Whether there may be more after {@link last}. */
  readonly isFull: boolean;
  readonly last: string | undefined;
}

async function smallest(
  connection: Connection,
  parts: MemcachedParts,
  { prefix, after, room }: Wanted,
): Promise<Page> {
  /** When each expires, in the seconds of the server; -1: never. */
  let kept = new Map<string, number>();
  let ceiling: string | undefined;
  const cut = (): void => {
    const smallestFirst = [...kept].toSorted(([one], [other]) => compareBytes(one, other));
    kept = new Map(smallestFirst.slice(0, room));
    if (kept.size === room) ceiling = [...kept.keys()].at(-1);
  };
  const start = `key=${percentEncoded(prefix)}`;
  await dump(connection, parts, (line) => {
    if (!line.startsWith(start)) return;
    const [, encoded = '', expiry] = /^key=(\S+) exp=(-?\d+) /.exec(line) ?? [];
    const name = decoded(encoded);
    if (name === undefined) return;
    if (after !== undefined && compareBytes(name, after) <= 0) return;
    if (ceiling !== undefined && compareBytes(name, ceiling) >= 0) return;
    kept.set(name, Number(expiry));
    if (kept.size >= 2 * room) cut();
  });
  cut();
  // By the clock of the server, after the dump: what it then takes for expired it would no longer show.
  const nowS = Number((await readStats(connection)).get('time'));
  const alive = [...kept].filter(([, expiry]) => expiry === -1 || expiry > nowS);
  return {
    names: alive.map(([name]) => name),
    isFull: kept.size === room,
    last: [...kept.keys()].at(-1),
  };
}

async function dump(
  connection: Connection,
  { clock, where }: MemcachedParts,
  onLine: (line: string) => void,
): Promise<void> {
  for (let tried = 0; tried < BUSY_TRIES_MAX; tried += 1) {
    const last = await connection
      .command('lru_crawler metadump all', onLine)
      .catch((error: unknown) => {
        if (isTallyError(error, 'CONFIG_INVALID', 'CAPABILITY_MISSING')) return 'ERROR';
        throw error;
      });
    if (last === 'END') return;
    if (!last.startsWith('BUSY'))
      throw new TallyError('CAPABILITY_MISSING', {
        what: 'this Memcached does not list its keys',
        where,
        mend: 'start it without -X (--disable-dumping) and without -o no_lru_crawler',
      });
    await clock.sleep(BUSY_WAIT_MS);
  }
  throw new TallyError('STORE_BUSY', {
    what: 'the crawler of Memcached, which lists its keys, is in use',
    where,
    mend: 'wait until others have listed theirs',
  });
}

/** As the dump writes names: bytes that are neither letters, digits nor `-._~` as `%XX`. */
function percentEncoded(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCodePoint(byte);
      return /[A-Za-z0-9\-._~]/.test(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

/** Undefined for bytes that are no text: somebody else's. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
