import { replyWord } from './errors.ts';
import type { RedisLink } from './link.ts';

/** What INFO says of one server, by name. */
export type Info = ReadonlyMap<string, string>;

/** INFO of each master. */
export async function readInfo(
  link: RedisLink,
): Promise<readonly { readonly node: string; readonly info: Info }[]> {
  const replies = await link.sendEach(['INFO']);
  return replies.map(({ node, reply }) => ({ node, info: parseInfo(String(reply)) }));
}

/** Settings of each master; those that may not be asked for (CONFIG is forbidden on managed servers) are missing. */
export async function readConfig(
  link: RedisLink,
  names: readonly string[],
): Promise<readonly { readonly node: string; readonly config: Info }[]> {
  try {
    const replies = await link.sendEach(['CONFIG', 'GET', ...names]);
    return replies.map(({ node, reply }) => ({
      node,
      config: new Map(Object.entries(reply as Readonly<Record<string, string>>)),
    }));
  } catch (error) {
    if (!isForbidden(error)) throw error;
    return [];
  }
}

/** Whether a command is not there, or not for this user. */
function isForbidden(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const word = replyWord(cause);
  return word === 'NOPERM' || word === 'ERR';
}

function parseInfo(text: string): Info {
  const info = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#'))
      info.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return info;
}
