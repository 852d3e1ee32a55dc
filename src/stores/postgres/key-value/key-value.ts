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
import type { Database } from '../database.ts';
import { textArray } from '../ledger/arrays.ts';
import { afterPrefix, fromStored, toStored } from '../ledger/plain-text.ts';
import { checkEncoding } from '../ledger/session.ts';

const SCHEMA_VERSION = 1;
/** An entry of an index takes 2 700 bytes. */
const KEY_BYTES_MAX = 2_048;
const VALUE_BYTES_MAX = 16 * 1024 * 1024;
/** What the key-value port of PostgreSQL can do. */
export const keyValueSupports: KeyValueSupports = {
  ttlResolutionMs: 1,
  compareAndSet: true,
  keyBytesMax: KEY_BYTES_MAX,
  valueBytesMax: VALUE_BYTES_MAX,
};
/** Keys read ahead by one page of `keys`. */
const PAGE_KEYS = 500;
/** Expired entries removed by one sweep: some tens of milliseconds. */
const SWEEP_MAX = 10_000;

/** What key-value entries of a store may be given. */
export interface PostgresKeyValueOptions {
  /** The most bytes of a value, encoded as JSON. Default 16 MiB. */
  readonly valueBytesMax?: number;
}

/*
 * A version is taken from one sequence for all keys, which never gives a number twice: one that came back after a
 * delete would let a compare-and-set through that read the value before it.
 */
function schemaOf(schema: string): string {
  return `
CREATE TABLE IF NOT EXISTS ${schema}.key_value (
  key text COLLATE "C" PRIMARY KEY, value text NOT NULL, version bigint NOT NULL, expires_at_ms double precision
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS key_value_expiry ON ${schema}.key_value (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
CREATE SEQUENCE IF NOT EXISTS ${schema}.key_value_version;
`;
}

/**
 * Key-value entries in a table of the coordinator's schema, `key_value`. Time is that of the store's clock, not of
 * the server's. Every call is one statement: a write that resolved is as durable as the commits of the pool's role.
 */
export function openKeyValue(database: Database, options: PostgresKeyValueOptions = {}): KeyValue {
  return new PostgresKeyValue(database, options.valueBytesMax ?? VALUE_BYTES_MAX);
}

interface EntryRow {
  readonly key: string;
  readonly value: string;
  readonly version: number;
  readonly expiresAtMs: number | null;
}

class PostgresKeyValue implements KeyValue {
  readonly supports: KeyValueSupports;
  readonly #database: Database;
  readonly #table: string;
  readonly #version: string;
  #ready: Promise<void> | undefined;

  constructor(database: Database, valueBytesMax: number) {
    this.#database = database;
    this.#table = `${database.schema}.key_value`;
    this.#version = `nextval('${database.schema}.key_value_version')`;
    this.supports = { ...keyValueSupports, valueBytesMax };
  }

  async get(key: string): Promise<KeyValueEntry | undefined> {
    return (await this.getMany([key]))[0];
  }

  async getMany(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    const stored = keys.map((key) => storedKey(key));
    if (keys.length === 0) return [];
    await this.#prepare();
    const rows = await this.#database.query<EntryRow>(
      `SELECT key, value, version, expires_at_ms AS "expiresAtMs" FROM ${this.#table}
       WHERE key = ANY ($1::text[]) AND (expires_at_ms IS NULL OR expires_at_ms > $2)`,
      [textArray([...new Set(stored)]), this.#database.clock.nowMs()],
    );
    const found = new Map(rows.map((row) => [row.key, row]));
    return stored.map((key) => {
      const row = found.get(key);
      return row && entryOf(row);
    });
  }

  async set(key: string, value: Value, options: SetOptions = {}): Promise<number> {
    const stored = storedKey(key);
    checkOptions(options, ['ttlMs', 'ifVersion'], 'set');
    const { ttlMs, ifVersion } = options;
    if (ttlMs !== undefined) checkNumber(ttlMs, 'set.ttlMs', { min: 1 });
    if (ifVersion !== undefined) checkNumber(ifVersion, 'set.ifVersion', { min: 0, integer: true });
    const text = encodeValue(value);
    checkSize(Buffer.byteLength(text), this.supports.valueBytesMax, 'a value');
    await this.#prepare();
    const nowMs = this.#database.clock.nowMs();
    const values = [stored, text, ttlMs === undefined ? null : nowMs + ttlMs];
    const insert = `INSERT INTO ${this.#table} AS e (key, value, expires_at_ms, version)
      VALUES ($1, $2, $3, ${this.#version})
      ON CONFLICT (key) DO UPDATE
      SET value = excluded.value, expires_at_ms = excluded.expires_at_ms, version = ${this.#version}`;
    const [row] =
      ifVersion === undefined
        ? await this.#write(`${insert} RETURNING version`, values)
        : ifVersion === 0
          ? // Only over an entry that has expired, which is none.
            await this.#write(`${insert} WHERE e.expires_at_ms <= $4 RETURNING version`, [
              ...values,
              nowMs,
            ])
          : await this.#write(
              `UPDATE ${this.#table} SET value = $2, expires_at_ms = $3, version = ${this.#version}
               WHERE key = $1 AND version = $5 AND (expires_at_ms IS NULL OR expires_at_ms > $4)
               RETURNING version`,
              [...values, nowMs, ifVersion],
            );
    if (row === undefined) throw conditionFailed(key, ifVersion);
    return row.version;
  }

  async delete(key: string): Promise<boolean> {
    const stored = storedKey(key);
    await this.#prepare();
    const [row] = await this.#database.query<{ live: boolean }>(
      `DELETE FROM ${this.#table} WHERE key = $1
       RETURNING expires_at_ms IS NULL OR expires_at_ms > $2 AS live`,
      [stored, this.#database.clock.nowMs()],
    );
    return row?.live === true;
  }

  async *keys(prefix: string, options: { readonly limit?: number } = {}): AsyncGenerator<string> {
    checkOptions(options, ['limit'], 'keys');
    const { limit = Infinity } = options;
    if (limit !== Infinity) checkNumber(limit, 'keys.limit', { min: 0, integer: true });
    await this.#prepare();
    const from = toStored(prefix);
    const end = afterPrefix(from);
    let after: string | undefined;
    for (let left = limit; left > 0;) {
      const count = Math.min(PAGE_KEYS, left);
      const page = await this.#database.query<{ key: string }>(
        `SELECT key FROM ${this.#table} WHERE key ${after === undefined ? '>=' : '>'} $1
         ${end === undefined ? '' : 'AND key < $4'} AND (expires_at_ms IS NULL OR expires_at_ms > $2)
         ORDER BY key LIMIT $3`,
        [after ?? from, this.#database.clock.nowMs(), count, ...(end === undefined ? [] : [end])],
      );
      for (const { key } of page) yield fromStored(key);
      if (page.length < count) return;
      after = page.at(-1)?.key;
      left -= page.length;
    }
  }

  async sweep(limit: number = SWEEP_MAX): Promise<number> {
    checkNumber(limit, 'sweep.limit', { min: 1, integer: true });
    await this.#prepare();
    // Rows that somebody is writing are not waited for: they are about to live again, or the next sweep's.
    const { count } = await this.#database.run(
      `DELETE FROM ${this.#table} WHERE key IN (
         SELECT key FROM ${this.#table} WHERE expires_at_ms <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
      [this.#database.clock.nowMs(), limit],
    );
    return count;
  }

  #write(
    text: string,
    values: readonly (string | number | null)[],
  ): Promise<readonly { readonly version: number }[]> {
    return this.#database.query<{ version: number }>(text, values);
  }

  async #prepare(): Promise<void> {
    this.#ready ??= this.#makeReady();
    try {
      await this.#ready;
    } catch (error) {
      this.#ready = undefined;
      throw error;
    }
  }

  async #makeReady(): Promise<void> {
    const { schema } = this.#database;
    await checkEncoding(this.#database);
    await this.#database.ensure('key-value', SCHEMA_VERSION, schemaOf(schema));
  }
}

function entryOf({ value, version, expiresAtMs }: EntryRow): KeyValueEntry {
  return { value: decodeValue(value), version, expiresAtMs: expiresAtMs ?? undefined };
}

function storedKey(key: string): string {
  // A lone surrogate has no form in UTF-8.
  if (typeof key !== 'string' || !key.isWellFormed())
    throw new TallyError('VALUE_UNSUPPORTED', { what: 'a key must be well-formed text' });
  const stored = toStored(key);
  checkSize(Buffer.byteLength(stored), KEY_BYTES_MAX, 'a key');
  return stored;
}

function checkSize(bytes: number, bytesMax: number, what: string): void {
  if (bytes <= bytesMax) return;
  throw new TallyError('ROW_TOO_LARGE', {
    what: `${what} has ${bytes} bytes; the limit is ${bytesMax}`,
    mend: 'keep large content in an object store, and its address here',
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
