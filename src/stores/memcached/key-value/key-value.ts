import { decodeValue, encodeValue } from '../../../core/codec.ts';
import { must, TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions, DURATION_MAX_MS } from '../../../core/options.ts';
import type { Value } from '../../../core/row.ts';
import type {
  KeyValue,
  KeyValueEntry,
  KeyValueSupports,
  SetOptions,
} from '../../../ports/key-value.ts';
import type { ServerLife } from '../link.ts';
import type { MemcachedParts } from '../parts.ts';
import { ITEM_OVERHEAD_BYTES, KEY_BYTES_MAX, keyValueSupports } from '../supports.ts';
import { ttlSeconds } from '../time-to-live.ts';
import { numberFlag, type MetaReply } from '../wire/reply.ts';
import { listKeys } from './list-keys.ts';

/** As in other stores: a server that was started with `-I 512m` is no place for objects all the same. */
const VALUE_BYTES_MAX = 64 * 1024 * 1024;
/** Keys of one write to the connection: its answers are some hundred kilobytes, of small values. */
const GET_KEYS_MAX = 1_000;

/**
 * Entries in Memcached, at `<prefix>_kv:<key>`, as canonical text. What Memcached has no memory for it forgets, before its
 * time, and all of it when it ends: a value that must be there belongs elsewhere. Time to live is in whole seconds of
 * Memcached's clock, over up to a second early; `expiresAtMs` is as exact as that.
 *
 * A version is Memcached's own, which grows with every write of the server, plus the microseconds since 1970 at which
 * the server began: else a version from before a restart could be given out again. That holds as long as a server takes
 * less than a million writes a second in the mean of its life, and is not started twice within one second.
 *
 * A write whose connection is lost is STORE_UNREACHABLE and may have been done. `keys` has Memcached dump the names of all
 * its keys. `sweep` has nothing to do and answers 0.
 */
export function openKeyValue(parts: MemcachedParts): KeyValue {
  return new MemcachedKeyValue(parts);
}

class MemcachedKeyValue implements KeyValue {
  readonly supports: KeyValueSupports;
  readonly #parts: MemcachedParts;
  readonly #root: string;

  constructor(parts: MemcachedParts) {
    this.#parts = parts;
    this.#root = `${parts.prefix}_kv:`;
    this.supports = {
      ...keyValueSupports,
      valueBytesMax: Math.min(VALUE_BYTES_MAX, parts.link.life.itemBytesMax - ITEM_OVERHEAD_BYTES),
    };
  }

  async get(key: string): Promise<KeyValueEntry | undefined> {
    checkKey(key);
    const { link } = this.#parts;
    const { life } = link;
    const reply = await link.send({ verb: 'mg', key: this.#root + key, flags: ['v', 'c', 't'] });
    return this.#entryOf(reply, life);
  }

  async getMany(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    for (const key of keys) checkKey(key);
    const { link } = this.#parts;
    const { life } = link;
    const groups: Promise<readonly MetaReply[]>[] = [];
    for (let at = 0; at < keys.length; at += GET_KEYS_MAX) {
      const group = keys.slice(at, at + GET_KEYS_MAX);
      groups.push(
        link.sendMany(
          group.map((key) => ({ verb: 'mg', key: this.#root + key, flags: ['v', 'c', 't'] })),
        ),
      );
    }
    const replies = await Promise.all(groups);
    return replies.flat().map((reply) => this.#entryOf(reply, life));
  }

  async set(key: string, value: Value, options: SetOptions = {}): Promise<number> {
    checkKey(key);
    checkOptions(options, ['ttlMs', 'ifVersion'], 'set');
    const { ttlMs, ifVersion } = options;
    if (ttlMs !== undefined) checkNumber(ttlMs, 'set.ttlMs', { min: 1, max: DURATION_MAX_MS });
    if (ifVersion !== undefined) checkNumber(ifVersion, 'set.ifVersion', { min: 0, integer: true });
    const text = encodeValue(value);
    checkSize('value', text, this.supports.valueBytesMax);
    const { link, clock } = this.#parts;
    const { life } = link;
    const flags = ['c'];
    if (ttlMs !== undefined) flags.push(`T${ttlSeconds(ttlMs, life, clock)}`);
    if (ifVersion === 0) flags.push('ME');
    else if (ifVersion !== undefined) {
      const own = ifVersion - firstVersion(life);
      // Of an earlier life of the server: whatever had it is gone.
      if (own < 1) throw conditionFailed(key, ifVersion);
      flags.push(`C${own}`);
    }
    const reply = await link.send({ verb: 'ms', key: this.#root + key, flags, value: text });
    if (reply.status !== 'HD') throw conditionFailed(key, ifVersion);
    return versionOf(reply, life);
  }

  async delete(key: string): Promise<boolean> {
    checkKey(key);
    const reply = await this.#parts.link.send({ verb: 'md', key: this.#root + key });
    return reply.status === 'HD';
  }

  async *keys(prefix: string, options: { readonly limit?: number } = {}): AsyncGenerator<string> {
    checkOptions(options, ['limit'], 'keys');
    const { limit = Infinity } = options;
    if (limit !== Infinity) checkNumber(limit, 'keys.limit', { min: 0, integer: true });
    for await (const name of listKeys(this.#parts, this.#root + prefix, limit))
      yield name.slice(this.#root.length);
  }

  async sweep(limit?: number): Promise<number> {
    if (limit !== undefined) checkNumber(limit, 'sweep.limit', { min: 1, integer: true });
    return 0;
  }

  #entryOf(reply: MetaReply, life: ServerLife): KeyValueEntry | undefined {
    if (reply.value === undefined) return undefined;
    const secondsLeft = must(numberFlag(reply, 't'), 'the time to live in the answer');
    return {
      value: decodeValue(reply.value.toString('utf8')),
      version: versionOf(reply, life),
      expiresAtMs: secondsLeft === -1 ? undefined : this.#parts.clock.nowMs() + secondsLeft * 1_000,
    };
  }
}

/** What is added to the versions of a server in this life. */
function firstVersion(life: ServerLife): number {
  return life.startedAtS * 1_000_000;
}

function versionOf(reply: MetaReply, life: ServerLife): number {
  return firstVersion(life) + must(numberFlag(reply, 'c'), 'the version in the answer');
}

function checkKey(key: string): void {
  // A lone surrogate becomes U+FFFD in UTF-8: two keys would be one.
  if (typeof key !== 'string' || !key.isWellFormed())
    throw new TallyError('VALUE_UNSUPPORTED', { what: 'a key must be well-formed text' });
  checkSize('key', key, KEY_BYTES_MAX);
}

function checkSize(what: 'key' | 'value', text: string, bytesMax: number): void {
  // A UTF-16 unit is at most three bytes: most texts are known to fit without being measured.
  if (text.length * 3 <= bytesMax) return;
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax)
    throw new TallyError('ROW_TOO_LARGE', {
      what: `the ${what} has ${bytes} bytes, the limit is ${bytesMax}`,
      mend: what === 'key' ? 'use a digest of it' : 'store it as an object and keep its key here',
      details: { bytes, bytesMax },
    });
}

function conditionFailed(key: string, ifVersion: number | undefined): TallyError {
  return new TallyError('CONDITION_FAILED', {
    what:
      ifVersion === 0
        ? 'the key already has a value'
        : `the key is no longer at version ${ifVersion}`,
    mend: 'read the entry again and decide anew',
    details: { key, ifVersion },
  });
}
