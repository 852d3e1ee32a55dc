import { Client, type QueryResult } from 'pg';
import type { SourceCursor, SourceEntry } from '../../src/ports/source.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  postgres,
  type PostgresOptions,
  type PostgresStore,
} from '../../src/stores/postgres/store.ts';
import { freshDatabase, type FreshDatabase } from './servers.ts';

const PATIENCE_MS = 15_000;

/** A database with stores over it, each as a process of the application would open it. */
export class StoreBench implements AsyncDisposable {
  readonly url: string;
  readonly store: PostgresStore;
  readonly #fresh: FreshDatabase | undefined;
  readonly #stores: PostgresStore[];

  private constructor(url: string, store: PostgresStore, fresh: FreshDatabase | undefined) {
    this.url = url;
    this.store = store;
    this.#fresh = fresh;
    this.#stores = [store];
  }

  /** Runs `sql` in a fresh database (or in that of `url`), and opens a store. */
  static async open(
    sql: string,
    options: Partial<PostgresOptions> & { readonly url?: string } = {},
  ): Promise<StoreBench> {
    const fresh = options.url === undefined ? await freshDatabase() : undefined;
    const url = options.url ?? fresh?.url ?? '';
    await runSql(url, sql);
    return new StoreBench(url, await openStore(url, options), fresh);
  }

  /** One more process. */
  async another(options: Partial<PostgresOptions> = {}): Promise<PostgresStore> {
    const store = await openStore(this.url, options);
    this.#stores.push(store);
    return store;
  }

  /** As somebody who knows nothing of the coordinator. */
  async sql(text: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    return runSql(this.url, text);
  }

  /** What the stream has after a place, up to everything that is committed by now. */
  async collect(
    after?: SourceCursor,
    store: PostgresStore = this.store,
  ): Promise<readonly SourceEntry[]> {
    await this.sql(`SELECT pg_logical_emit_message(true, 'test', 'mark')`);
    return collectThrough(store, after, await store.source.head());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#stores.map((store) => store.close()));
    await this.#fresh?.[Symbol.asyncDispose]();
  }
}

export function openStore(
  url: string,
  options: Partial<PostgresOptions> = {},
): Promise<PostgresStore> {
  return postgres({ ...options, url: options.url ?? url }).open({
    name: 'owner',
    clock: systemClock,
    random: systemRandom,
  });
}

/** The entries after a place up to the commit at `through`. */
export async function collectThrough(
  store: PostgresStore,
  after: SourceCursor | undefined,
  through: number,
): Promise<readonly SourceEntry[]> {
  const ending = new AbortController();
  const cancel = systemClock.after(PATIENCE_MS, () => ending.abort());
  const entries: SourceEntry[] = [];
  try {
    const { signal } = ending;
    const bounds = { rowsMax: 10_000, bytesMax: 64 * 2 ** 20 };
    for await (const batch of store.source.stream({ after, ...bounds, signal })) {
      entries.push(...batch);
      if (batch.some((entry) => entry.kind === 'commit' && entry.offset >= through)) return entries;
    }
  } finally {
    cancel();
  }
  throw new Error(`the stream did not come to ${through}`);
}

/** Keys of the changes, with a minus before those of deletes. */
export function keysOf(entries: readonly SourceEntry[]): readonly string[] {
  return entries
    .filter((entry) => entry.kind === 'change')
    .map(({ key, operation }) => (operation === 'delete' ? `-${key}` : key));
}

/** The place after the last commit. */
export function cursorOf(entries: readonly SourceEntry[]): SourceCursor {
  const commit = entries.findLast((entry) => entry.kind === 'commit');
  if (commit === undefined) throw new Error('there is no commit');
  return { offset: commit.offset, token: commit.token };
}

/** Statements of another client; the rows of the last one. */
export async function runSql(
  url: string,
  text: string,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const result: unknown = await client.query(text);
    const last = (Array.isArray(result) ? result.at(-1) : result) as QueryResult | undefined;
    return (last?.rows ?? []) as Readonly<Record<string, unknown>>[];
  } finally {
    await client.end();
  }
}
