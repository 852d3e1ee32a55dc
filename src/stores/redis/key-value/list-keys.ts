import { compareBytes } from '../../../core/byte-order.ts';
import { literalPattern } from '../keys.ts';
import type { RedisLink } from '../link.ts';

/** Names held in memory by one pass over the keys of the database: some ten megabytes. */
const PASS_KEYS_MAX = 100_000;
/** Keys that one SCAN looks at: about a hundred microseconds during which Redis serves nobody else. */
const SCAN_KEYS = 1_000;

/**
 * Names of keys that start with `prefix`, in byte order, at most `limit`. SCAN has no order, so each pass looks at all
 * keys of the database and keeps the smallest that come after the last pass: memory is bounded, and the number of
 * passes is that of names by {@link PASS_KEYS_MAX}. The other way, an ordered index beside the keys, would cost each
 * write a second structure, grow by what expires, and lie in one slot of a cluster or in sixteen thousand.
 *
 * A key that is there from beginning to end is listed, and once, unless the cluster moves it to another node
 * meanwhile; others may be.
 */
export async function* listKeys(
  link: RedisLink,
  prefix: string,
  limit: number,
): AsyncGenerator<string> {
  let after: string | undefined;
  for (let left = limit; left > 0;) {
    const room = Math.min(PASS_KEYS_MAX, left);
    const page = await smallest(link, prefix, after, room);
    yield* page;
    if (page.length < room) return;
    after = page.at(-1);
    left -= page.length;
  }
}

async function smallest(
  link: RedisLink,
  prefix: string,
  after: string | undefined,
  room: number,
): Promise<readonly string[]> {
  let kept = new Set<string>();
  let ceiling: string | undefined;
  const cut = (): readonly string[] => {
    const names = [...kept].toSorted(compareBytes).slice(0, room);
    kept = new Set(names);
    if (names.length === room) ceiling = names.at(-1);
    return names;
  };
  for await (const names of scan(link, `${literalPattern(prefix)}*`)) {
    for (const name of names) {
      if (after !== undefined && compareBytes(name, after) <= 0) continue;
      if (ceiling !== undefined && compareBytes(name, ceiling) >= 0) continue;
      kept.add(name);
    }
    if (kept.size >= 2 * room) cut();
  }
  return cut();
}

/** Looks at all masters at the same time; each has a cursor of its own. */
async function* scan(link: RedisLink, pattern: string): AsyncGenerator<readonly string[]> {
  const cursors = new Map<string, string>();
  for (;;) {
    const replies = await link.sendEach((node) => {
      const cursor = cursors.get(node) ?? '0';
      return cursor === 'end'
        ? undefined
        : ['SCAN', cursor, 'MATCH', pattern, 'COUNT', String(SCAN_KEYS)];
    });
    if (replies.length === 0) return;
    for (const { node, reply } of replies) {
      const [cursor, names] = reply as readonly [string, readonly string[]];
      cursors.set(node, cursor === '0' ? 'end' : cursor);
      if (names.length > 0) yield names;
    }
  }
}
