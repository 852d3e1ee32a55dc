import { createHash } from 'node:crypto';
import { replyWord } from './errors.ts';
import type { RedisArgument, RedisLink, SendOptions } from './link.ts';

/**
 * A Lua script, which Redis runs as one step. It is sent by its digest, and whole only to a server that does
 * not know it yet: after a restart, a failover, SCRIPT FLUSH.
 */
export interface Script {
  /** All keys must be in one slot of a cluster. Throws what {@link RedisLink.send} throws. */
  run(
    link: RedisLink,
    keys: readonly [string, ...string[]],
    args: readonly RedisArgument[],
    options?: SendOptions,
  ): Promise<unknown>;
}

export function script(source: string): Script {
  const digest = createHash('sha1').update(source).digest('hex');
  return {
    async run(link, keys, args, options) {
      const rest = [String(keys.length), ...keys, ...args];
      try {
        return await link.send(keys[0], ['EVALSHA', digest, ...rest], options);
      } catch (error) {
        // Nothing of it was run: sending it again is not doing it twice.
        if (replyWord(error) !== 'NOSCRIPT') throw error;
        return link.send(keys[0], ['EVAL', source, ...rest], options);
      }
    },
  };
}
