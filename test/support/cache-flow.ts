import { join } from 'node:path';
import {
  invalidation,
  tally,
  type InvalidationOptions,
  type LogDefinition,
  type TallyApp,
} from 'tallystick';
import { cache, type Cache, type CacheOptions } from 'tallystick/cache';
import type { PostgresStore } from 'tallystick/postgres';
import type { RedisStore } from 'tallystick/redis';
import { sqlite, type SqliteStore } from 'tallystick/sqlite';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { rowsOf, sql } from './sqlite-rows.ts';

/** The owner's table: the value of the cache is the name, and its key the id as text. */
export const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY, name text, shelf text)';

/** An owner and a store for the cache, both with nothing in them, and how somebody else reaches the owner. */
export interface World extends AsyncDisposable {
  readonly stores: {
    readonly shop: StoreDefinition<SqliteStore> | StoreDefinition<PostgresStore>;
    readonly shelf: StoreDefinition<SqliteStore> | StoreDefinition<RedisStore>;
  };
  /** Runs SQL at the owner with a driver of its own: neither the application nor the cache is asked. */
  run(text: string): Promise<void>;
  name(id: string): Promise<string | undefined>;
}

/** SQLite to SQLite, in a folder. */
export function embeddedWorld(dir: string): Promise<World> {
  const file = join(dir, 'shop.db');
  sql(file, ITEMS.replace('CREATE TABLE', 'CREATE TABLE IF NOT EXISTS'));
  return Promise.resolve({
    stores: { shop: sqlite({ file }), shelf: sqlite({ file: join(dir, 'shelf.db') }) },
    run: (text) => Promise.resolve(sql(file, text)),
    name: (id) =>
      Promise.resolve(
        rowsOf(file, 'SELECT name FROM items WHERE id = ?', Number(id))
          .map((row) => (row as { readonly name: string }).name)
          .at(0),
      ),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

export type Names = Cache<string, string>;
export type CacheFlowApp = TallyApp<World['stores'], { readonly names: Names }>;

export interface CacheFlowOptions {
  readonly cache?: Partial<CacheOptions<string, string>>;
  readonly flow?: Partial<InvalidationOptions>;
  readonly log?: (lane: string) => LogDefinition;
}

/** An application with the cache `names` over `shelf`, which hears of every change of `items`. */
export function cacheFlowApp(
  dir: string,
  world: World,
  options: CacheFlowOptions = {},
): CacheFlowApp {
  return tally({
    name: 'shop',
    dir: join(dir, 'tally'),
    stores: world.stores,
    ...(options.log === undefined ? {} : { log: options.log }),
    caches: {
      names: (stores, heads) =>
        cache<string, string>({
          name: 'names',
          store: stores.shelf,
          load: (id) => world.name(id),
          ttl: '1h',
          jitter: 0,
          // A machine that is busy with other tests is slow, not away.
          shared: { timeout: '10s' },
          ...(options.cache?.lane === undefined ? {} : { asOf: heads }),
          ...options.cache,
        }),
    },
    flows: {
      told: invalidation({
        from: 'shop',
        tables: ['items'],
        to: 'names',
        keys: (row) => [String(row['id'])],
        ...options.flow,
      }),
    },
  });
}
