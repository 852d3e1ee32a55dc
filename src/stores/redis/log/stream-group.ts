import { decodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../../../core/options.ts';
import type { Value } from '../../../core/row.ts';
import { replyWord } from '../errors.ts';
import type { RedisLink } from '../link.ts';
import { CLAIM, READ_GROUP } from './stream-scripts.ts';
import type { WakeUp } from './wake-up.ts';

/** Messages of one read if nothing is said: little enough that a consumer that dies leaves little. */
const MESSAGES_DEFAULT = 100;
const MESSAGES_MAX = 10_000;

/** One message as a consumer gets it. */
export interface StreamMessage {
  /** Of the entry in the stream; to acknowledge it. */
  readonly id: string;
  /** What the publisher gave: the same message published or delivered twice has the same one. */
  readonly key: string;
  readonly value: Value;
  /** How often it was handed to a consumer of this group, this time included. */
  readonly deliveries: number;
}

export interface ReadMessagesOptions {
  /** Who reads, for as long as it lives: what it does not acknowledge waits under this name. */
  readonly consumer: string;
  /** Up to 10 000; 100 if not given. */
  readonly messagesMax?: number;
  /** Ends the wait for messages; the answer is then empty. */
  readonly signal: AbortSignal;
}

export interface ClaimStaleOptions {
  readonly consumer: string;
  /** Takes what was handed to somebody so long ago. More than the longest time that handling one takes. */
  readonly idleMs: number;
  readonly messagesMax?: number;
}

/** What of a group is handed out and not acknowledged. */
export interface PendingMessages {
  readonly count: number;
  readonly consumers: readonly { readonly consumer: string; readonly count: number }[];
}

/**
 * Consumers that share the messages of a stream: each message is handed to one of them, and again after
 * {@link StreamGroup.claimStale}, until it is acknowledged. So it is handled at least once, and by two at the same
 * time if the first was slow, not dead: do in one step what the message asks for and the note that its `key` is
 * done. There is no order between consumers. `deliveries` tells a message that nobody can handle: set it aside,
 * then acknowledge it.
 */
export interface StreamGroup {
  readonly name: string;
  /**
   * New messages, once there are some. An abort never takes a message away. Throws CONDITION_FAILED if the group is
   * gone.
   */
  read(options: ReadMessagesOptions): Promise<readonly StreamMessage[]>;
  /** These are handled. How many of them still waited for that. */
  ack(ids: readonly string[]): Promise<number>;
  /**
   * Messages whose consumer has been silent for `idleMs`, from now on this one's; empty if it came upon none this time.
   * Asked again and again it comes past all of them, a bounded number at a time.
   */
  claimStale(options: ClaimStaleOptions): Promise<readonly StreamMessage[]>;
  pending(): Promise<PendingMessages>;
}

export interface StreamParts {
  readonly link: RedisLink;
  readonly wakeUp: WakeUp;
  readonly stream: string;
  readonly where: string;
}

export class RedisStreamGroup implements StreamGroup {
  readonly name: string;
  readonly #parts: StreamParts;
  /** Where the next look for stale messages begins: each looks at a bounded number. */
  #cursor = '0-0';

  constructor(parts: StreamParts, name: string) {
    this.#parts = parts;
    this.name = name;
  }

  async read(options: ReadMessagesOptions): Promise<readonly StreamMessage[]> {
    checkOptions(options, ['consumer', 'messagesMax', 'signal'], 'read');
    const { link, stream, wakeUp } = this.#parts;
    const { consumer, signal } = options;
    const args = [this.name, checkString(consumer, 'read.consumer'), countOf(options, 'read')];
    for (;;) {
      if (signal.aborted) return [];
      // Not by a wait of XREADGROUP itself: what comes in after an abort would be handed to nobody.
      const reply = await this.#named(() => READ_GROUP.run(link, [stream], args));
      if (Array.isArray(reply)) return messagesOf(reply as readonly string[]);
      await wakeUp.wait(String(reply), signal);
    }
  }

  async ack(ids: readonly string[]): Promise<number> {
    if (ids.length === 0) return 0;
    const { link, stream } = this.#parts;
    return (await link.send(stream, ['XACK', stream, this.name, ...ids])) as number;
  }

  async claimStale(options: ClaimStaleOptions): Promise<readonly StreamMessage[]> {
    checkOptions(options, ['consumer', 'idleMs', 'messagesMax'], 'claimStale');
    const { link, stream } = this.#parts;
    const consumer = checkString(options.consumer, 'claimStale.consumer');
    const idleMs = checkNumber(options.idleMs, 'claimStale.idleMs', { min: 0, integer: true });
    const count = countOf(options, 'claimStale');
    const args = [this.name, consumer, String(idleMs), this.#cursor, count];
    const reply = await this.#named(() => CLAIM.run(link, [stream], args));
    const [cursor = '0-0', ...fields] = reply as readonly string[];
    this.#cursor = cursor;
    return messagesOf(fields);
  }

  async pending(): Promise<PendingMessages> {
    const { link, stream } = this.#parts;
    const reply = await this.#named(() => link.send(stream, ['XPENDING', stream, this.name]));
    const [count, , , consumers] = reply as readonly [
      number,
      unknown,
      unknown,
      readonly (readonly [string, string])[] | null,
    ];
    return {
      count,
      consumers: (consumers ?? []).map(([consumer, held]) => ({ consumer, count: Number(held) })),
    };
  }

  async #named<Result>(run: () => Promise<Result>): Promise<Result> {
    try {
      return await run();
    } catch (error) {
      if (replyWord(error) !== 'NOGROUP') throw error;
      throw new TallyError('CONDITION_FAILED', {
        what: `the consumer group ${this.name} is no longer there: somebody removed it, or Redis has lost it`,
        where: this.#parts.where,
        mend: 'ask the stream for the group again, from the place where it is to go on',
        details: { group: this.name },
        cause: error,
      });
    }
  }
}

function countOf({ messagesMax }: { readonly messagesMax?: number }, path: string): string {
  const limits = { min: 1, max: MESSAGES_MAX, integer: true } as const;
  return String(checkNumber(messagesMax ?? MESSAGES_DEFAULT, `${path}.messagesMax`, limits));
}

function messagesOf(fields: readonly string[]): readonly StreamMessage[] {
  const messages: StreamMessage[] = [];
  for (let at = 0; at + 3 < fields.length; at += 4) {
    const [id = '', deliveries, key = '', text = ''] = fields.slice(at, at + 4);
    messages.push({ id, key, value: decodeValue(text), deliveries: Number(deliveries) });
  }
  return messages;
}
