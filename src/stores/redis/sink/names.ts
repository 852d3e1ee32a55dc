import { TallyError } from '../../../core/errors.ts';
import { slotOf } from '../keys.ts';

const TARGET_CHARACTERS_MAX = 128;

/**
 * The names of all keys. With one bucket on one server a row is at `{prefix}products:sku-1`. Else each bucket
 * has a hash tag, its number, so that a cluster keeps all of it in one slot: `{prefix}products:{3}:sku-1`, where
 * the bucket is `CLUSTER KEYSLOT sku-1` modulo the number of buckets. What the coordinator keeps for itself
 * starts with `{prefix}_tally:`.
 */
export class Names {
  readonly prefix: string;
  readonly buckets: number;
  readonly #tagged: boolean;

  constructor(options: {
    readonly prefix: string;
    readonly buckets: number;
    readonly cluster: boolean;
  }) {
    this.prefix = options.prefix;
    this.buckets = options.buckets;
    this.#tagged = options.cluster || options.buckets > 1;
  }

  /** How keys are named, to be compared with how they were. */
  get layout(): string {
    return this.#tagged ? `buckets=${this.buckets}` : 'plain';
  }

  bucketOf(text: string): number {
    return this.buckets === 1 ? 0 : slotOf(text) % this.buckets;
  }

  /** What the keys of a bucket's rows of a target start with. */
  rowPrefix(target: string, bucket: number): string {
    return `${this.prefix}${target}:${this.#tagged ? `{${bucket}}:` : ''}`;
  }

  /** The sorted set of a target, or of one group of its rows. */
  sortedSet(target: string, group: string | undefined, bucket: number): string {
    const tag = this.#tagged ? `:{${bucket}}` : '';
    return `${this.prefix}${target}.sorted${tag}${group === undefined ? '' : `:${group}`}`;
  }

  /** A key of the coordinator's own. */
  own(kind: 'flow' | 'state' | 'fences' | 'dead' | 'expiry', name: string, bucket: number): string {
    return `${this.prefix}_tally:${this.#tagged ? `{${bucket}}:` : ''}${kind}:${name}`;
  }

  /** Which flow fills which target. */
  get targets(): string {
    return `${this.prefix}_tally:targets`;
  }

  /** How keys are named. */
  get layoutKey(): string {
    return `${this.prefix}_tally:layout`;
  }
}

/** Refuses a name that could make two targets share a key. Throws CONFIG_INVALID. */
export function checkTargetName(target: string, where: string): void {
  const reason =
    target === '' || target.length > TARGET_CHARACTERS_MAX
      ? `it has ${target.length} characters, from 1 to ${TARGET_CHARACTERS_MAX} are possible`
      : /[:{}]/.test(target) || !target.isWellFormed()
        ? 'it holds a colon or a brace'
        : target.startsWith('_tally') || target.endsWith('.sorted')
          ? 'such names are the coordinator’s own'
          : undefined;
  if (reason === undefined) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `this cannot be the name of a target: ${reason}`,
    where,
    mend: 'choose a name such as products; its rows will be at products:KEY',
    details: { target },
  });
}
