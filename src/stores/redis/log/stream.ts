import { encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOneOf, checkOptions, checkString } from '../../../core/options.ts';
import type { Value } from '../../../core/row.ts';
import type { StoreContext } from '../../../ports/store.ts';
import { loadDriver } from '../driver.ts';
import { replyWord } from '../errors.ts';
import { openLink, type RedisLink } from '../link.ts';
import {
  checkRedisOptions,
  type RedisClusterOptions,
  type RedisServerOptions,
} from '../options.ts';
import { RedisStreamGroup, type StreamGroup, type StreamParts } from './stream-group.ts';
import { PUBLISH, TRIM } from './stream-scripts.ts';
import { WakeUp } from './wake-up.ts';

/** Entries that a stream holds at most, unless it is told otherwise: some ten megabytes of small ones. */
const LENGTH_MAX_DEFAULT = 100_000;
/** Messages of one call: Redis serves nobody else for some milliseconds. */
const PUBLISH_MAX = 10_000;

interface Named {
  /** The key of the stream, after the prefix. */
  readonly stream: string;
  /** Entries that it holds at most; 100 000 if not given. */
  readonly lengthMax?: number;
}

/** Where a stream is. */
export type RedisStreamOptions = (RedisServerOptions | RedisClusterOptions) & Named;

/** One message to publish. */
export interface OutgoingMessage {
  /** By which a consumer knows that it has handled the message before. */
  readonly key: string;
  readonly value: Value;
}

/** A stream that is open. */
export interface RedisStream extends AsyncDisposable {
  /**
   * Appends messages, all or none; answers their ids. Throws LOG_FULL when the stream is at its bound with what some
   * group has yet to acknowledge, or has no group; STORE_UNREACHABLE if the connection was lost, and then they may be
   * there: publish them again with the same keys.
   */
  publish(messages: readonly OutgoingMessage[]): Promise<readonly string[]>;
  /** The group of that name, made if it is not there: `from` the first entry kept, or what comes from `now` on. */
  group(name: string, options?: { readonly from?: 'start' | 'now' }): Promise<StreamGroup>;
  /** Lets go of what every group has acknowledged, a bounded number at a time; `publish` does when it has to. */
  trim(): Promise<number>;
  close(): Promise<void>;
}

/** What {@link redisStream} returns: how to open the stream, without opening it. */
export interface RedisStreamDefinition {
  /** Throws DRIVER_MISSING, STORE_UNREACHABLE. */
  open(context: StoreContext): Promise<RedisStream>;
}

/**
 * A stream of Redis 7 with groups of consumers: messages are handled at least once, and carry a key by which twice is
 * noticed. It is bounded: when it is full of what was not acknowledged, publishing is refused and nothing is
 * dropped. What Redis promises to keep is what is kept; after a restart that lost the last second, some of that
 * is handed out again and some is gone. A captured history belongs into `redisLog`, which notices that.
 *
 * Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 */
export function redisStream(options: RedisStreamOptions): RedisStreamDefinition {
  checkOptions(options, ['url', 'cluster', 'prefix', 'stream', 'lengthMax'], 'redisStream');
  const { stream: name, lengthMax = LENGTH_MAX_DEFAULT, ...server } = options;
  checkNumber(lengthMax, 'redisStream.lengthMax', { min: 1, integer: true });
  const { address, prefix } = checkRedisOptions(server);
  const stream = prefix + checkString(name, 'redisStream.stream', { charactersMax: 1_000 });
  return {
    open: async ({ clock }) => {
      const driver = await loadDriver();
      const where = `stream ${stream}`;
      const connect = (): Promise<RedisLink> => openLink({ driver, address, clock, where });
      const link = await connect();
      const wakeUp = new WakeUp({ connect, stream, clock, where });
      return new OpenStream({ link, wakeUp, stream, where }, lengthMax);
    },
  };
}

class OpenStream implements RedisStream {
  readonly #parts: StreamParts;
  readonly #lengthMax: number;

  constructor(parts: StreamParts, lengthMax: number) {
    this.#parts = parts;
    this.#lengthMax = lengthMax;
  }

  async publish(messages: readonly OutgoingMessage[]): Promise<readonly string[]> {
    if (messages.length === 0) return [];
    const { link, stream, where } = this.#parts;
    checkNumber(messages.length, 'publish.messages', { max: PUBLISH_MAX });
    const fields = messages.flatMap(({ key, value }) => [
      checkString(key, 'publish.key'),
      encodeValue(value),
    ]);
    const reply = await PUBLISH.run(link, [stream], [String(this.#lengthMax), ...fields]);
    if (Array.isArray(reply)) return reply as readonly string[];
    throw new TallyError('LOG_FULL', {
      what: `the stream holds ${String(reply)} of ${this.#lengthMax} messages, and not all of its groups have acknowledged them`,
      where,
      mend: 'let the slowest group catch up, remove a group that nobody reads (XGROUP DESTROY), or raise lengthMax',
      details: { length: reply, lengthMax: this.#lengthMax },
    });
  }

  async group(
    name: string,
    options: { readonly from?: 'start' | 'now' } = {},
  ): Promise<StreamGroup> {
    checkOptions(options, ['from'], 'group');
    checkString(name, 'group.name');
    const from = checkOneOf(options.from ?? 'start', 'group.from', ['start', 'now']);
    const { link, stream } = this.#parts;
    const id = from === 'start' ? '0' : '$';
    try {
      await link.send(stream, ['XGROUP', 'CREATE', stream, name, id, 'MKSTREAM']);
    } catch (error) {
      if (replyWord(error) !== 'BUSYGROUP') throw error;
    }
    return new RedisStreamGroup(this.#parts, name);
  }

  async trim(): Promise<number> {
    return (await TRIM.run(this.#parts.link, [this.#parts.stream], [])) as number;
  }

  async close(): Promise<void> {
    await this.#parts.wakeUp.close();
    await this.#parts.link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
