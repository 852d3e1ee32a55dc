import { encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions } from '../../../core/options.ts';
import type { Value } from '../../../core/row.ts';
import type {
  KeyValue,
  KeyValueEntry,
  KeyValueSupports,
  SetOptions,
} from '../../../ports/key-value.ts';
import { slotOf, tagOf } from '../keys.ts';
import type { RedisParts } from '../parts.ts';
import { script } from '../script.ts';
import { decodeEntry } from './entry.ts';
import { listKeys } from './list-keys.ts';

/** As in the embedded stores: an application must not find out by switching. */
const KEY_BYTES_MAX = 4_096;
/** Redis takes half a gibibyte, but serves nobody else while it copies one: this much is some 30 ms. */
const VALUE_BYTES_MAX = 64 * 1024 * 1024;
/** What the key-value port of Redis can do. */
export const keyValueSupports: KeyValueSupports = {
  ttlResolutionMs: 1,
  compareAndSet: true,
  keyBytesMax: KEY_BYTES_MAX,
  valueBytesMax: VALUE_BYTES_MAX,
};
/** Keys of one MGET: some hundreds of microseconds during which Redis serves nobody else. */
const MGET_KEYS_MAX = 1_000;

/*
 * An entry is one string, `<version>,<expires at, or nothing>;<canonical text>`, so that many of them, with their
 * versions, are one MGET. TYPE string, EXPIRE of Redis itself: an expired key is absent by Redis's own clock, swept or not.
 *
 * A version is the larger of one more than the last one given out in the slot and the microseconds of Redis's
 * clock. The counter makes it grow though the clock is set back, and after the key was deleted or has expired;
 * the clock makes it grow though the counter is lost (a restart without the tail of the append-only file, a
 * failover, an eviction). Only both together could give a version out again. It takes 250 years to 2^53.
 */
const SET = script(`
local head = redis.call('GETRANGE', KEYS[1], 0, 39)
local version = head == '' and 0 or tonumber(string.match(head, '^(%d+),%d*;') or -1)
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= version then return false end
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
local next = math.max(last + 1, version + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))
local text = string.format('%.0f', next)
redis.call('SET', KEYS[2], text)
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], text .. ',;' .. ARGV[1])
else
  -- PXAT names the last millisecond in which Redis still shows the key, the entry the first in which it does not.
  local at = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[2])
  redis.call('SET', KEYS[1], text .. ',' .. string.format('%.0f', at) .. ';' .. ARGV[1],
    'PXAT', string.format('%.0f', at - 1))
end
return next
`);

interface Asked {
  readonly key: string;
  readonly resolve: (entry: KeyValueEntry | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Entries in Redis, at `<prefix>_kv:<key>`. What is asked for in one turn of the event loop is one MGET (one
 * for each slot in a cluster, on the way at the same time). Time to live is exact to the millisecond of
 * Redis's clock; braces in a key say which keys a cluster keeps together.
 *
 * A write whose connection is lost is STORE_UNREACHABLE and may have been done: read before a condition is
 * tried again. What Redis's persistence does not keep is gone after a crash of Redis: with `appendfsync
 * everysec` up to a second of writes, after a failover what the replica had not received.
 *
 * `keys` looks at every key of the database, as often as 100 000 fit into what it lists: it is for people and
 * repairs, and costs Redis a second or so for some millions of keys, in small steps. `sweep` has nothing to
 * do and answers 0.
 */
export function openKeyValue(parts: RedisParts): KeyValue {
  return new RedisKeyValue(parts);
}

class RedisKeyValue implements KeyValue {
  readonly supports: KeyValueSupports = keyValueSupports;
  readonly #parts: RedisParts;
  readonly #root: string;
  #asked: Asked[] = [];

  constructor(parts: RedisParts) {
    this.#parts = parts;
    this.#root = `${parts.prefix}_kv:`;
  }

  async get(key: string): Promise<KeyValueEntry | undefined> {
    checkKey(key);
    return new Promise((resolve, reject) => {
      this.#asked.push({ key, resolve, reject });
      // After the callers that go on in this turn have asked as well.
      if (this.#asked.length === 1) process.nextTick(() => void this.#answer());
    });
  }

  async getMany(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    for (const key of keys) checkKey(key);
    const { link } = this.#parts;
    const entries: (KeyValueEntry | undefined)[] = Array.from(keys, () => undefined);
    const read = async (places: readonly number[]): Promise<void> => {
      const names = places.map((place) => this.#root + String(keys[place]));
      const replies = (await link.send(names[0], ['MGET', ...names])) as readonly (string | null)[];
      for (const [index, place] of places.entries())
        entries[place] = decodeEntry(replies[index] ?? null, String(keys[place]));
    };
    await Promise.all(this.#groups(keys).map(read));
    return entries;
  }

  async set(key: string, value: Value, options: SetOptions = {}): Promise<number> {
    checkKey(key);
    checkOptions(options, ['ttlMs', 'ifVersion'], 'set');
    const { ttlMs, ifVersion } = options;
    if (ttlMs !== undefined) checkNumber(ttlMs, 'set.ttlMs', { min: 1 });
    if (ifVersion !== undefined) checkNumber(ifVersion, 'set.ifVersion', { min: 0, integer: true });
    const text = encodeValue(value);
    checkSize('value', text, VALUE_BYTES_MAX);
    const name = this.#root + key;
    const version = (await SET.run(
      this.#parts.link,
      [name, this.#versionName(name)],
      [
        text,
        ttlMs === undefined ? '' : String(Math.ceil(ttlMs)),
        ifVersion === undefined ? '' : String(ifVersion),
      ],
    )) as number | null;
    if (version === null) throw conditionFailed(key, ifVersion);
    return version;
  }

  async delete(key: string): Promise<boolean> {
    checkKey(key);
    const name = this.#root + key;
    return (await this.#parts.link.send(name, ['DEL', name])) === 1;
  }

  async *keys(prefix: string, options: { readonly limit?: number } = {}): AsyncGenerator<string> {
    checkOptions(options, ['limit'], 'keys');
    const { limit = Infinity } = options;
    if (limit !== Infinity) checkNumber(limit, 'keys.limit', { min: 0, integer: true });
    for await (const name of listKeys(this.#parts.link, this.#root + prefix, limit))
      yield name.slice(this.#root.length);
  }

  async sweep(limit?: number): Promise<number> {
    if (limit !== undefined) checkNumber(limit, 'sweep.limit', { min: 1, integer: true });
    return 0;
  }

  async #answer(): Promise<void> {
    const asked = this.#asked;
    this.#asked = [];
    try {
      const places = new Map(asked.map(({ key }) => [key, 0]));
      const keys = [...places.keys()];
      for (const [place, key] of keys.entries()) places.set(key, place);
      const entries = await this.getMany(keys);
      for (const { key, resolve } of asked) resolve(entries[places.get(key) ?? -1]);
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }

  /** Places of keys that one MGET may ask for: of one slot in a cluster, a bounded number anywhere. */
  #groups(keys: readonly string[]): number[][] {
    const open = new Map<number, number[]>();
    const groups: number[][] = [];
    for (const [place, key] of keys.entries()) {
      const slot = this.#parts.link.isCluster ? slotOf(this.#root + key) : 0;
      const group = open.get(slot);
      if (group !== undefined && group.length < MGET_KEYS_MAX) {
        group.push(place);
        continue;
      }
      const begun = [place];
      open.set(slot, begun);
      groups.push(begun);
    }
    return groups;
  }

  /** The counter of versions: one, or in a cluster one for each slot, since a script stays within a slot. */
  #versionName(name: string): string {
    const root = `${this.#parts.prefix}_kv-version`;
    return this.#parts.link.isCluster ? `${root}:{${tagOf(slotOf(name))}}` : root;
  }
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
