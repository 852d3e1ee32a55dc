import { tally, type TallyApp } from '../../src/index.ts';
import { cache, loaded, type Cache } from '../../src/patterns/cache/index.ts';
import type { Caches } from '../../src/ports/cache.ts';
import { sqlite } from '../../src/stores/sqlite/index.ts';

/** As an application opens it, over its own stores. */
export function products(stores: {
  readonly shelf: { readonly caches?: Caches };
}): Promise<Cache<string, { readonly title: string }>> {
  return cache<string, { readonly title: string }>({
    name: 'products',
    store: stores.shelf,
    load: (key) =>
      key === 'broken'
        ? Promise.reject(new Error('no such table'))
        : loaded({ title: `title of ${key}` }, { tags: ['catalogue'] }),
    ttl: '1h',
  });
}

const app: TallyApp = tally({
  name: 'cached',
  stores: {
    shelf: sqlite({ file: process.env['CACHE_FILE'] ?? 'cache.db' }),
    // It cannot be opened, and no cache is over it.
    elsewhere: sqlite({ file: '/nowhere/at/all.db' }),
  },
  caches: { products },
});

export default app;
