import type { SQLOutputValue } from 'node:sqlite';
import { decodeValue, encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions } from '../../../core/options.ts';
import type { Value } from '../../../core/row.ts';
import type {
  KeyValue,
  KeyValueEntry,
  KeyValueSupports,
  SetOptions,
} from '../../../ports/key-value.ts';
import type { Catalogue } from '../sink/catalogue.ts';
import { sweepExpired } from '../sink/expiry.ts';
import { isWhole, transaction, type Host } from '../sink/host.ts';
import { checkSize } from '../sink/refusal.ts';

/** Longer keys make every page of the index hold few of them. */
const KEY_BYTES_MAX = 4_096;
/** Keys read ahead by one page of `keys`. */
const PAGE_KEYS = 500;
/** Expired entries removed by one sweep: some tens of milliseconds of write lock. */
const SWEEP_MAX = 10_000;

// A version is the row's number, which AUTOINCREMENT never gives out twice in the life of the file;
// REPLACE takes a new one for each write. A version that came back after a delete would let a
// compare-and-set through that read the value before it.
const TABLE = `
  CREATE TABLE IF NOT EXISTS _tally_key_values
    (version INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, value TEXT NOT NULL, expires_at_ms INTEGER);
  CREATE INDEX IF NOT EXISTS _tally_key_values_expiry
    ON _tally_key_values (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
`;

const LIVE = '(expires_at_ms IS NULL OR expires_at_ms > ?)';

interface Waiting {
  /** Runs inside the shared transaction; what it throws rejects this call alone. */
  readonly run: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Key-value entries in a table of the file, `_tally_key_values`. Calls that are made together share
 * one commit; each has its own outcome.
 */
export function openKeyValue(host: Host, catalogue: Catalogue): KeyValue {
  return new SqliteKeyValue(host, catalogue);
}

class SqliteKeyValue implements KeyValue {
  readonly supports: KeyValueSupports;
  readonly #host: Host;
  readonly #catalogue: Catalogue;
  #waiting: Waiting[] = [];
  #flushing = false;
  #ready: Promise<void> | undefined;

  constructor(host: Host, catalogue: Catalogue) {
    this.#host = host;
    this.#catalogue = catalogue;
    this.supports = {
      ttlResolutionMs: 1,
      compareAndSet: true,
      keyBytesMax: KEY_BYTES_MAX,
      valueBytesMax: catalogue.rowBytesMax,
    };
  }

  async get(key: string): Promise<KeyValueEntry | undefined> {
    return (await this.getMany([key]))[0];
  }

  async getMany(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    for (const key of keys) checkKey(key);
    await this.#prepare();
    const { connection, clock } = this.#host;
    const statement = connection.prepareArrays(
      `SELECT key, value, version, expires_at_ms FROM _tally_key_values
       WHERE key IN (SELECT value FROM json_each(?)) AND ${LIVE}`,
    );
    const records = connection.guard(() =>
      statement.all(JSON.stringify(keys), clock.nowMs()),
    ) as unknown as readonly (readonly SQLOutputValue[])[];
    const found = new Map(records.map((record) => [record[0], record]));
    return keys.map((key) => {
      const record = found.get(key);
      return record && entryOf(record);
    });
  }

  async set(key: string, value: Value, options: SetOptions = {}): Promise<number> {
    checkKey(key);
    checkOptions(options, ['ttlMs', 'ifVersion'], 'set');
    const { ttlMs, ifVersion } = options;
    if (ttlMs !== undefined) checkNumber(ttlMs, 'set.ttlMs', { min: 1 });
    if (ifVersion !== undefined) checkNumber(ifVersion, 'set.ifVersion', { min: 0, integer: true });
    const text = encodeValue(value);
    checkSize(text, this.supports.valueBytesMax);
    return this.#write(() => {
      const nowMs = this.#host.clock.nowMs();
      const record = this.#host.connection
        .prepare(
          `INSERT OR REPLACE INTO _tally_key_values (key, value, expires_at_ms) SELECT ?1, ?2, ?3
           WHERE ?4 IS NULL OR ?4 = coalesce(
             (SELECT version FROM _tally_key_values WHERE key = ?1 AND ${LIVE.replace('?', '?5')}), 0)
           RETURNING version`,
        )
        .get(key, text, ttlMs === undefined ? null : nowMs + ttlMs, ifVersion ?? null, nowMs);
      if (record === undefined) throw conditionFailed(key, ifVersion);
      return Number(record['version']);
    });
  }

  async delete(key: string): Promise<boolean> {
    checkKey(key);
    return this.#write(() => {
      const sql = `DELETE FROM _tally_key_values WHERE key = ? RETURNING ${LIVE} AS live`;
      return this.#host.connection.prepare(sql).get(key, this.#host.clock.nowMs())?.['live'] === 1;
    });
  }

  async *keys(prefix: string, options: { readonly limit?: number } = {}): AsyncGenerator<string> {
    checkOptions(options, ['limit'], 'keys');
    const { limit = Infinity } = options;
    if (limit !== Infinity) checkNumber(limit, 'keys.limit', { min: 0, integer: true });
    await this.#prepare();
    const { connection, clock } = this.#host;
    // Keys with the prefix stand together in byte order, from the prefix itself on.
    const from = `SELECT key FROM _tally_key_values WHERE key >= ? AND ${LIVE} ORDER BY key LIMIT ?`;
    const next = from.replace('>=', '>');
    let after: string | undefined;
    for (let left = limit; left > 0;) {
      const statement = connection.prepareArrays(after === undefined ? from : next);
      const page = connection.guard(() =>
        statement.all(after ?? prefix, clock.nowMs(), Math.min(PAGE_KEYS, left)),
      ) as unknown as readonly (readonly [string])[];
      for (const [key] of page) {
        if (!key.startsWith(prefix)) return;
        yield key;
      }
      if (page.length < PAGE_KEYS) return;
      after = page.at(-1)?.[0];
      left -= page.length;
    }
  }

  async sweep(limit: number = SWEEP_MAX): Promise<number> {
    checkNumber(limit, 'sweep.limit', { min: 1, integer: true });
    return this.#write(() => {
      const nowMs = this.#host.clock.nowMs();
      const { changes } = this.#host.connection
        .prepare(
          `DELETE FROM _tally_key_values WHERE version IN
             (SELECT version FROM _tally_key_values WHERE expires_at_ms <= ? LIMIT ?)`,
        )
        .run(nowMs, limit);
      const swept = Number(changes);
      return swept + sweepExpired(this.#host, this.#catalogue, nowMs, limit - swept);
    });
  }

  /** Joins the next shared commit. */
  async #write<Result>(run: () => Result): Promise<Result> {
    await this.#prepare();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.push({ run, resolve, reject });
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => void this.#flush());
    }
    return promise as Promise<Result>;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const settled = await transaction(this.#host, () => batch.map(({ run }) => settle(run)));
        for (const [index, { resolve, reject }] of batch.entries()) {
          const outcome = settled[index];
          if (outcome !== undefined && 'error' in outcome) reject(outcome.error);
          else resolve(outcome?.value);
        }
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = false;
  }

  async #prepare(): Promise<void> {
    this.#ready ??= transaction(this.#host, () => this.#host.connection.database.exec(TABLE));
    try {
      await this.#ready;
    } catch (error) {
      this.#ready = undefined;
      throw error;
    }
  }
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** Each call is one statement, which SQLite undoes by itself if it fails: the others go on. */
function settle(run: () => unknown): Outcome {
  try {
    return { value: run() };
  } catch (error) {
    if (isWhole(error)) throw error;
    return { error };
  }
}

function entryOf(record: readonly SQLOutputValue[]): KeyValueEntry {
  const [, value, version, expiresAtMs] = record;
  return {
    value: decodeValue(String(value)),
    version: Number(version),
    expiresAtMs: expiresAtMs === null ? undefined : Number(expiresAtMs),
  };
}

function checkKey(key: string): void {
  // A lone surrogate becomes U+FFFD in UTF-8: two keys would be one.
  if (typeof key !== 'string' || !key.isWellFormed())
    throw new TallyError('VALUE_UNSUPPORTED', { what: 'a key must be well-formed text' });
  checkSize(key, KEY_BYTES_MAX);
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
