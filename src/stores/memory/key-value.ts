import { decodeValue, encodeValue } from '../../core/codec.ts';
import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import type { Clock } from '../../ports/clock.ts';
import type {
  KeyValue,
  KeyValueEntry,
  KeyValueSupports,
  SetOptions,
} from '../../ports/key-value.ts';
import type { Connection, KeyValueState } from './state.ts';

/** What the memory key-value store can do. */
export const memoryKeyValueSupports: KeyValueSupports = {
  ttlResolutionMs: 1,
  compareAndSet: true,
  keyBytesMax: 1_024,
  valueBytesMax: 16 * 2 ** 20,
};

/** The key-value side of a memory store; what has expired by the clock is absent, swept or not. */
export class MemoryKeyValue implements KeyValue {
  readonly supports: KeyValueSupports = memoryKeyValueSupports;
  readonly #connection: Connection;
  readonly #clock: Clock;

  constructor(connection: Connection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
  }

  async get(key: string): Promise<KeyValueEntry | undefined> {
    return this.#unit('get', 0, () => this.#entry(key));
  }

  async getMany(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    return this.#unit('get', 0, () => keys.map((key) => this.#entry(key)));
  }

  async set(key: string, value: Value, options: SetOptions = {}): Promise<number> {
    checkOptions(options, ['ttlMs', 'ifVersion'], 'set');
    const { ttlMs, ifVersion } = options;
    if (ttlMs !== undefined) checkNumber(ttlMs, 'set.ttlMs', { min: 1 });
    if (ifVersion !== undefined) checkNumber(ifVersion, 'set.ifVersion', { min: 0, integer: true });
    if (!key.isWellFormed())
      throw new TallyError('VALUE_UNSUPPORTED', {
        what: 'a key must be well-formed text',
        where: this.#connection.name,
      });
    const text = encodeValue(value);
    this.#bounded('key', key, this.supports.keyBytesMax);
    this.#bounded('value', text, this.supports.valueBytesMax);
    return this.#unit('set', 1, (entries) => {
      const present = this.#live(key)?.version ?? 0;
      if (ifVersion !== undefined && ifVersion !== present)
        throw new TallyError('CONDITION_FAILED', {
          what: `the key has version ${present}, not ${ifVersion}`,
          where: this.#connection.name,
          mend: 'read it again and decide anew',
        });
      const version = (this.#connection.state.sequence += 1);
      const expiresAtMs = ttlMs === undefined ? undefined : this.#clock.nowMs() + ttlMs;
      entries.set(key, { value: text, version, expiresAtMs });
      return version;
    });
  }

  async delete(key: string): Promise<boolean> {
    return this.#unit('delete', 1, (entries) => {
      const live = this.#live(key) !== undefined;
      entries.delete(key);
      return live;
    });
  }

  async *keys(prefix: string, options: { readonly limit?: number } = {}): AsyncIterable<string> {
    const { limit = Infinity } = options;
    const found = await this.#unit('keys', 0, (entries) =>
      [...entries.keys()]
        .filter((key) => key.startsWith(prefix) && this.#live(key) !== undefined)
        .toSorted((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)))
        .slice(0, limit),
    );
    yield* found;
  }

  async sweep(limit: number = Infinity): Promise<number> {
    return this.#unit('sweep', 1, (entries) => {
      const expired = [...entries.keys()]
        .filter((key) => this.#live(key) === undefined)
        .slice(0, limit);
      for (const key of expired) entries.delete(key);
      return expired.length;
    });
  }

  #unit<Result>(
    operation: string,
    size: number,
    action: (entries: Map<string, KeyValueState>) => Result,
  ): Promise<Result> {
    const { state } = this.#connection;
    return this.#connection.unit({ port: 'keyValue', operation, size }, () =>
      action(state.keyValues),
    );
  }

  #live(key: string): KeyValueState | undefined {
    const entry = this.#connection.state.keyValues.get(key);
    const expired = entry?.expiresAtMs !== undefined && entry.expiresAtMs <= this.#clock.nowMs();
    return expired ? undefined : entry;
  }

  #entry(key: string): KeyValueEntry | undefined {
    const entry = this.#live(key);
    return entry === undefined ? undefined : { ...entry, value: decodeValue(entry.value) };
  }

  #bounded(what: string, text: string, bytesMax: number): void {
    const bytes = Buffer.byteLength(text);
    if (bytes <= bytesMax) return;
    throw new TallyError('ROW_TOO_LARGE', {
      what: `a ${what} of ${bytes} bytes is over the limit of ${bytesMax}`,
      where: this.#connection.name,
      mend: `keep the ${what} smaller`,
      details: { bytes, bytesMax },
    });
  }
}
