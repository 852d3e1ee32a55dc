import { must, TallyError } from '../../../core/errors.ts';
import type { Random } from '../../../ports/clock.ts';
import type { MemcachedLink } from '../link.ts';
import { numberFlag, type MetaReply } from '../wire/reply.ts';
import type { MetaRequest } from '../wire/request.ts';
import type { CacheNames } from './names.ts';
import type { Stamp } from './record.ts';

/** Rounds of a race that always somebody wins: more are no race. */
const ROUNDS_MAX = 1_000;
const GENERATIONS = 2 ** 32;

/**
 * The history of a cache's invalidations, in Memcached: a count that each invalidation of tags makes grow, and for each tag
 * the count at its last one. Memcached may forget any of it. A count that was forgotten begins in another generation, so
 * that every entry of before is invalid; an entry whose tag was forgotten is invalid, too. So what is forgotten can cost
 * loads, and never brings a stale value back.
 */
export class Sequence {
  readonly #link: MemcachedLink;
  readonly #names: CacheNames;
  readonly #random: Random;

  constructor(link: MemcachedLink, names: CacheNames, random: Random) {
    this.#link = link;
    this.#names = names;
    this.#random = random;
  }

  /** What to send to be told the present stamp. */
  get ask(): MetaRequest {
    return { verb: 'mg', key: this.#names.sequence, flags: ['v', 'f'] };
  }

  askTag(tag: string): MetaRequest {
    return { verb: 'mg', key: this.#names.tag(tag), flags: ['v'] };
  }

  /** The stamp in an answer to {@link ask}; begins to count if there is none. */
  async stamp(reply: MetaReply | undefined): Promise<Stamp> {
    let answer = must(reply, 'the answer about the sequence');
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const stamp = stampIn(answer);
      if (stamp !== undefined) return stamp;
      await this.#link.send({ ...this.#first(), flags: [...(this.#first().flags ?? []), 'ME'] });
      answer = await this.#link.send(this.ask);
    }
    throw lost();
  }

  /** Whether what was born then is still valid, going by the answers about its tags. */
  isValid(born: Stamp, now: Stamp, tagReplies: readonly (MetaReply | undefined)[]): boolean {
    if (born.generation !== now.generation) return false;
    return tagReplies.every((reply) => {
      const invalidated = tagStampIn(reply);
      return invalidated?.generation === born.generation && invalidated.count <= born.count;
    });
  }

  /** Remembers tags that Memcached does not know (any more): as if they had been invalidated by now. */
  async remember(tags: readonly string[], now: Stamp): Promise<void> {
    await this.#link.sendMany(
      tags.map((tag) => ({
        verb: 'ms',
        key: this.#names.tag(tag),
        flags: ['ME'],
        value: tagText(now),
      })),
    );
  }

  /** Invalidates everything that carries one of the tags. */
  async invalidateTags(tags: readonly string[]): Promise<void> {
    const stamp = await this.#advance();
    // The count began anew: everything is invalid.
    if (stamp === undefined) return;
    let left = tags;
    for (let round = 0; left.length > 0; round += 1) {
      if (round === ROUNDS_MAX) throw lost();
      left = await this.#raise(left, stamp);
    }
  }

  /** Invalidates everything: the count begins anew. */
  async invalidateAll(): Promise<void> {
    await this.#link.send(this.#first());
  }

  /**
   * Makes the record of each tag at least the stamp; returns those where somebody was faster. Never lower: 1. one counts 5, another
   * 6  2. the other writes 6  3. the one writes 5  4. what was born at 5 would be valid again.
   */
  async #raise(tags: readonly string[], stamp: Stamp): Promise<readonly string[]> {
    const replies = await this.#link.sendMany(
      tags.map((tag) => ({ verb: 'mg', key: this.#names.tag(tag), flags: ['v', 'c'] })),
    );
    const lower = tags.flatMap((tag, index) => {
      const reply = replies[index];
      const known = tagStampIn(reply);
      const isDone = known?.generation === stamp.generation && known.count >= stamp.count;
      return isDone ? [] : [{ tag, version: reply && numberFlag(reply, 'c') }];
    });
    const outcomes = await this.#link.sendMany(
      lower.map(({ tag, version }) => ({
        verb: 'ms',
        key: this.#names.tag(tag),
        flags: [version === undefined ? 'ME' : `C${version}`],
        value: tagText(stamp),
      })),
    );
    return lower.flatMap(({ tag }, index) => (outcomes[index]?.status === 'HD' ? [] : [tag]));
  }

  /** Counts one more; undefined if the count had to begin anew. */
  async #advance(): Promise<Stamp | undefined> {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const [counted, asked] = await this.#link.sendMany([
        { verb: 'ma', key: this.#names.sequence, flags: ['v'] },
        this.ask,
      ]);
      if (counted?.value === undefined) {
        await this.stamp(asked);
        return undefined;
      }
      const count = Number(counted.value.toString('latin1'));
      const now = asked === undefined ? undefined : stampIn(asked);
      // Begun anew between the two: the count is of one generation, the other number of the next.
      if (now !== undefined && now.count >= count) return { generation: now.generation, count };
    }
    throw lost();
  }

  #first(): MetaRequest {
    const generation = Math.floor(this.#random.next() * GENERATIONS);
    return { verb: 'ms', key: this.#names.sequence, flags: [`F${generation}`], value: '1' };
  }
}

function stampIn(reply: MetaReply): Stamp | undefined {
  if (reply.value === undefined) return undefined;
  const count = Number(reply.value.toString('latin1'));
  return { generation: must(numberFlag(reply, 'f'), 'the flags in the answer'), count };
}

function tagText({ generation, count }: Stamp): string {
  return `${generation}:${count}`;
}

function tagStampIn(reply: MetaReply | undefined): Stamp | undefined {
  const [, generation, count] = /^(\d+):(\d+)$/.exec(reply?.value?.toString('latin1') ?? '') ?? [];
  return count === undefined ? undefined : { generation: Number(generation), count: Number(count) };
}

function lost(): TallyError {
  return new TallyError('STORE_BUSY', {
    what: 'somebody else was always faster',
    mend: 'look for what changes one key or tag thousands of times a second',
  });
}
