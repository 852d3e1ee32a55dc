import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { decodeKey, decodeRow } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import type { SourceCursor, SourceEntry, StreamOptions } from '../../src/ports/source.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { sqlite, type SqliteOptions, type SqliteStore } from '../../src/stores/sqlite/store.ts';

export type ChangeEntry = Extract<SourceEntry, { readonly kind: 'change' }>;
export type CommitEntry = Extract<SourceEntry, { readonly kind: 'commit' }>;

/** A database file of a test's own, with the store over it and other programs beside it. */
export interface Bench {
  readonly directory: string;
  readonly file: string;
  readonly store: SqliteStore;
  /** A connection as another program has it: not the store's, with nothing set. */
  readonly foreign: () => DatabaseSync;
  /** Closes the store and opens it again on the same file. */
  readonly reopen: () => Promise<SqliteStore>;
}

/** Opens a store on a new file, runs `work`, and removes everything. */
export async function withStore(
  work: (bench: Bench) => Promise<void>,
  options: Partial<SqliteOptions> = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'tally-sqlite-'));
  const file = join(directory, 'owner.db');
  const others: DatabaseSync[] = [];
  let store = await openStore(file, options);
  try {
    await work({
      directory,
      file,
      get store(): SqliteStore {
        return store;
      },
      foreign: () => {
        const other = new DatabaseSync(file, { enableForeignKeyConstraints: false });
        others.push(other);
        return other;
      },
      reopen: async () => {
        await store.close();
        store = await openStore(file, options);
        return store;
      },
    });
  } finally {
    for (const other of others) if (other.isOpen) other.close();
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

export async function openStore(
  file: string,
  options: Partial<SqliteOptions> = {},
): Promise<SqliteStore> {
  const definition = sqlite({ file, synchronous: 'NORMAL', pollMs: 5, ...options });
  return definition.open({ name: 'owner', clock: systemClock, random: systemRandom });
}

/** Reads a stream until it has passed the newest change that was there at the call. */
export async function drain(
  store: SqliteStore,
  after?: SourceCursor,
  bounds: Partial<Pick<StreamOptions, 'rowsMax' | 'bytesMax'>> = {},
): Promise<SourceEntry[]> {
  const stop = new AbortController();
  const entries: SourceEntry[] = [];
  const batches = store.source.stream({
    after,
    rowsMax: 1_000,
    bytesMax: 10_000_000,
    ...bounds,
    signal: stop.signal,
  });
  const head = await store.source.head();
  if (head <= (after?.offset ?? 0)) return entries;
  for await (const batch of batches) {
    entries.push(...batch);
    const last = batch.at(-1);
    // What a refresh of triggers writes comes after the head that was asked for above.
    if (last?.kind === 'commit' && last.offset >= (await store.source.head())) break;
  }
  stop.abort();
  return entries;
}

export function changesOf(entries: readonly SourceEntry[]): ChangeEntry[] {
  return entries.filter((entry) => entry.kind === 'change');
}

export function commitsOf(entries: readonly SourceEntry[]): CommitEntry[] {
  return entries.filter((entry) => entry.kind === 'commit');
}

/** The cursor behind the last commit. */
export function cursorOf(entries: readonly SourceEntry[]): SourceCursor {
  const commit = commitsOf(entries).at(-1);
  if (commit === undefined) throw new Error('nothing was committed');
  return { offset: commit.offset, token: commit.token };
}

/** Changes in short, as `operation key before after`. */
export function brief(entries: readonly SourceEntry[]): string[] {
  return changesOf(entries).map((change) =>
    [change.operation, change.key, change.before ?? '-', change.after ?? '-'].join(' '),
  );
}

/**
 * Folds changes over what was there, and fails if one does not fit: a create over a row, an update
 * or a deletion whose before image is not the row as the earlier changes left it.
 */
export function fold(entries: readonly SourceEntry[], table: string): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const change of changesOf(entries)) {
    if (change.table !== table) continue;
    const { key, operation } = change;
    const before = change.before === null ? undefined : decodeRow(change.before);
    const held = rows.get(key);
    const shown = `${operation} of ${JSON.stringify(decodeKey(key))} at ${change.offset}`;
    if (JSON.stringify(before) !== JSON.stringify(held)) {
      throw new Error(`${shown}: before ${JSON.stringify(before)}, held ${JSON.stringify(held)}`);
    }
    if (change.after === null) rows.delete(key);
    else rows.set(key, decodeRow(change.after));
  }
  return rows;
}
