import type { TallyApp } from '../app/definition.ts';
import { TallyError } from '../core/errors.ts';
import { noEvidence } from '../core/evidence.ts';
import type { Cache, Invalidation } from '../patterns/cache/index.ts';
import type { Store } from '../ports/store.ts';
import { systemClock } from '../runtime/clock.ts';
import { systemRandom } from '../runtime/random.ts';
import { nameOf } from './names.ts';

/** What a command does with caches: they are open, and those of the stores that could be opened, too. */
type CacheWork<Result> = (
  caches: ReadonlyMap<string, Cache<unknown, unknown>>,
  stores: ReadonlyMap<string, Store>,
) => Promise<Result>;

/**
 * Opens caches of an application as the application does, over stores opened for this. No flow runs. A store that cannot be
 * opened is an error only for a cache that is over it. Throws CONFIG_INVALID, and what opening throws.
 */
export async function withCaches<Result>(
  app: TallyApp,
  names: readonly string[],
  work: CacheWork<Result>,
): Promise<Result> {
  const known = Object.keys(app.caches);
  for (const name of names) nameOf('cache', name, known);
  await using opened = new AsyncDisposableStack();
  const stores = new Map<string, Store>();
  const offered: Record<string, Store> = {};
  for (const [name, definition] of Object.entries(app.stores)) {
    try {
      const context = { name, clock: systemClock, random: systemRandom };
      const store = opened.use(await definition.open(context));
      stores.set(name, store);
      offered[name] = store;
    } catch (error) {
      Object.defineProperty(offered, name, {
        get: () => {
          throw error;
        },
      });
    }
  }
  const caches = new Map<string, Cache<unknown, unknown>>();
  for (const name of names) {
    const setup = app.caches[name];
    if (setup !== undefined) caches.set(name, opened.use(await setup(offered, () => noEvidence)));
  }
  return await work(caches, stores);
}

/** {@link withCaches} for one. */
export function withCache<Result>(
  app: TallyApp,
  name: string,
  work: (cache: Cache<unknown, unknown>) => Promise<Result>,
): Promise<Result> {
  return withCaches(app, [name], async (caches) => {
    const cache = caches.get(name);
    if (cache === undefined) throw new TallyError('INTERNAL', { what: `no cache ${name}` });
    return work(cache);
  });
}

/** An invalidation that is only pending ends with this process: that is no success. */
export function checkDone(invalidation: Invalidation, name: string): void {
  if (invalidation.kind === 'done') return;
  throw new TallyError('STORE_UNREACHABLE', {
    what: 'the shared tier has not taken the invalidation',
    where: `cache ${name}`,
    mend: 'run it again when the store can be reached; until then copies in the shared tier may be served',
  });
}
