import type { SQLOutputValue } from 'node:sqlite';
import type { Connection } from '../connection.ts';
import { isDeadHolder } from './holder.ts';
import { overAtMs, type KeyRecord, type KeyState, type Moment } from './record.ts';

/** Tables of all caches of a file. */
export const CACHE_TABLES = `
  CREATE TABLE IF NOT EXISTS _tally_caches
    (cache TEXT PRIMARY KEY, sequence INTEGER NOT NULL, all_at INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS _tally_cache_tags
    (cache TEXT NOT NULL, tag TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (cache, tag)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS _tally_cache_keys
    (cache TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, payload, over_at_ms REAL NOT NULL, UNIQUE (cache, key));
  CREATE INDEX IF NOT EXISTS _tally_cache_keys_over ON _tally_cache_keys (cache, over_at_ms);
`;

/** Tags whose last invalidation is remembered before a sweep looks for those that no entry is older than. */
const TAGS_MAX = 10_000;

const NOTHING: KeyRecord = { state: {}, payload: undefined };

/** The rows of one cache, as one connection sees them. Everything runs within a transaction of the caller's. */
export class Shelf {
  readonly #connection: Connection;
  readonly #cache: string;

  constructor(connection: Connection, cache: string) {
    this.#connection = connection;
    this.#cache = cache;
  }

  read(key: string): KeyRecord {
    const row = this.#connection
      .prepareArrays('SELECT state, payload FROM _tally_cache_keys WHERE cache = ? AND key = ?')
      .get(this.#cache, key) as unknown as readonly SQLOutputValue[] | undefined;
    if (row === undefined) return NOTHING;
    const [state, payload] = row;
    return {
      state: JSON.parse(String(state)) as KeyState,
      payload: payload === null ? undefined : (payload as string | Uint8Array),
    };
  }

  /** The same without the payload. */
  readState(key: string): KeyState {
    const row = this.#connection
      .prepare('SELECT state FROM _tally_cache_keys WHERE cache = ? AND key = ?')
      .get(this.#cache, key);
    return row === undefined ? {} : (JSON.parse(String(row['state'])) as KeyState);
  }

  write(key: string, record: KeyRecord): void {
    const { state, payload = null } = record;
    const overAt = overAtMs(state);
    if (overAt === 0) {
      this.#connection
        .prepare('DELETE FROM _tally_cache_keys WHERE cache = ? AND key = ?')
        .run(this.#cache, key);
      return;
    }
    this.#connection
      .prepare(
        `INSERT INTO _tally_cache_keys (cache, key, state, payload, over_at_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (cache, key) DO UPDATE SET
           state = excluded.state, payload = excluded.payload, over_at_ms = excluded.over_at_ms`,
      )
      .run(this.#cache, key, JSON.stringify(state), payload, overAt);
  }

  /** {@link write} where the payload stays what it is. */
  writeState(key: string, state: KeyState): void {
    this.#connection
      .prepare('UPDATE _tally_cache_keys SET state = ?, over_at_ms = ? WHERE cache = ? AND key = ?')
      .run(JSON.stringify(state), overAtMs(state), this.#cache, key);
  }

  /** What decisions of this transaction depend on. */
  moment(nowMs: number): Moment {
    const row = this.#connection
      .prepare('SELECT sequence, all_at FROM _tally_caches WHERE cache = ?')
      .get(this.#cache);
    const sequence = Number(row?.['sequence'] ?? 0);
    const allAt = Number(row?.['all_at'] ?? 0);
    const tags = new Map<string, number>();
    const tagAt = (tag: string): number => {
      const known = tags.get(tag);
      if (known !== undefined) return known;
      const found = this.#connection
        .prepare('SELECT at FROM _tally_cache_tags WHERE cache = ? AND tag = ?')
        .get(this.#cache, tag);
      const at = Number(found?.['at'] ?? 0);
      tags.set(tag, at);
      return at;
    };
    return {
      nowMs,
      sequence,
      isInvalidated: (own, born) => allAt > born || own.some((tag) => tagAt(tag) > born),
      isDead: isDeadHolder,
    };
  }

  invalidateTags(tags: readonly string[]): void {
    const sequence = this.#advance();
    for (const tag of tags)
      this.#connection
        .prepare(
          `INSERT INTO _tally_cache_tags (cache, tag, at) VALUES (?, ?, ?)
           ON CONFLICT (cache, tag) DO UPDATE SET at = excluded.at`,
        )
        .run(this.#cache, tag, sequence);
  }

  invalidateAll(): void {
    const sequence = this.#advance();
    this.#connection
      .prepare('UPDATE _tally_caches SET all_at = ? WHERE cache = ?')
      .run(sequence, this.#cache);
    // Tags are of entries, and there are none.
    this.#connection.prepare('DELETE FROM _tally_cache_tags WHERE cache = ?').run(this.#cache);
  }

  /** Removes rows of which nothing counts any more. */
  sweep(nowMs: number, limit: number): number {
    const { changes } = this.#connection
      .prepare(
        `DELETE FROM _tally_cache_keys WHERE rowid IN
           (SELECT rowid FROM _tally_cache_keys WHERE cache = ? AND over_at_ms <= ? LIMIT ?)`,
      )
      .run(this.#cache, nowMs, limit);
    this.#forgetTags();
    return Number(changes);
  }

  /** A tag counts only for what was born before its invalidation; when there is no such entry or lease, it may go. */
  #forgetTags(): void {
    const row = this.#connection
      .prepare('SELECT count(*) AS count FROM _tally_cache_tags WHERE cache = ?')
      .get(this.#cache);
    if (Number(row?.['count']) <= TAGS_MAX) return;
    const born = (member: string): string =>
      `coalesce(json_extract(state, '$.${member}.born'), 9e15)`;
    this.#connection
      .prepare(
        `DELETE FROM _tally_cache_tags WHERE cache = ?1 AND at <= coalesce(
           (SELECT min(min(${born('entry')}, ${born('lease')})) FROM _tally_cache_keys WHERE cache = ?1), 9e15)`,
      )
      .run(this.#cache);
  }

  #advance(): number {
    const row = this.#connection
      .prepare(
        `INSERT INTO _tally_caches (cache, sequence, all_at) VALUES (?, 1, 0)
         ON CONFLICT (cache) DO UPDATE SET sequence = sequence + 1 RETURNING sequence`,
      )
      .get(this.#cache);
    return Number(row?.['sequence']);
  }
}
