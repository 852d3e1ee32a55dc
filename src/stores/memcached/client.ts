import type { MetaReply } from './wire/reply.ts';
import type { MetaRequest } from './wire/request.ts';

/**
 * A connection to Memcached for the application's own commands. There is no driver that speaks the meta protocol with
 * versions, leases and stale marks, so this is ours: commands and flags are those of Memcached's protocol.txt, as they are.
 *
 * ```ts
 * const { client } = store;
 * const reply = await client.send({ verb: 'mg', key: 'greeting', flags: ['v', 'c', 'N30'] });
 * if (reply.flags.includes('W')) await client.send({ verb: 'ms', key: 'greeting', value: 'hello', flags: ['T60'] });
 * ```
 */
export interface MemcachedClient {
  /**
   * Sends one command of the meta protocol. `NF`, `NS`, `EX` and `EN` are answers. Throws CONFIG_INVALID for a key or flag
   * that Memcached refuses (and the connection is made anew), ROW_TOO_LARGE, STORE_FULL, STORE_BUSY, STORE_UNREACHABLE
   * (then it may have been done), STORE_CORRUPT, STORE_CLOSED.
   */
  send(request: MetaRequest): Promise<MetaReply>;
  /** Sends commands in one write, and resolves with their answers in order. Throws as `send`. */
  sendMany(requests: readonly MetaRequest[]): Promise<readonly MetaReply[]>;
  /** Sends a classic command such as `stats` or `version`; `onLine` gets the lines before the last. Throws as `send`. */
  command(text: string, onLine?: (line: string) => void): Promise<string>;
}
