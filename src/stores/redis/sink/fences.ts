import type { RedisLink } from '../link.ts';

/** Fields that Redis is asked to look at in one step of a walk. */
const STEP = '1000';

/**
 * Walks over the fences of one bucket of a target: pairs of the key's text and the stored fence. Each that is
 * there all the while comes at least once; one that comes or goes meanwhile may or may not.
 */
export async function* scanFences(
  link: RedisLink,
  key: string,
): AsyncGenerator<readonly (readonly [name: string, held: string])[], void, undefined> {
  let cursor = '0';
  do {
    const reply = await link.send(key, ['HSCAN', key, cursor, 'COUNT', STEP]);
    const [next, flat] = reply as readonly [string, readonly string[]];
    const pairs: (readonly [string, string])[] = [];
    for (let index = 0; index < flat.length; index += 2)
      pairs.push([flat[index] ?? '', flat[index + 1] ?? '']);
    if (pairs.length > 0) yield pairs;
    cursor = next;
  } while (cursor !== '0');
}
