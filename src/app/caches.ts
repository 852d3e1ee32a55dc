import { TallyError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import type { Cache } from '../patterns/cache/index.ts';
import { cacheSink } from '../patterns/cache/sink.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Store } from '../ports/store.ts';
import type { TallyApp } from './definition.ts';
import type { FlowEnd } from './lanes.ts';

/** Opens the caches of an application, in the order in which they are declared. */
export async function openCaches(
  app: TallyApp,
  stores: Readonly<Record<string, Store>>,
  heads: () => Evidence,
): Promise<Readonly<Record<string, Cache<unknown, unknown>>>> {
  const caches: Record<string, Cache<unknown, unknown>> = {};
  await using opened = new AsyncDisposableStack();
  for (const [name, setup] of Object.entries(app.caches))
    caches[name] = opened.use(await setup(stores, heads));
  opened.move();
  return caches;
}

/** The caches that flows end in, as such ends. Throws CAPABILITY_MISSING. */
export function cacheEnds(
  app: TallyApp,
  caches: Readonly<Record<string, Cache<unknown, unknown>>>,
  ledger: Ledger,
): Readonly<Record<string, FlowEnd>> {
  const ends: Record<string, FlowEnd> = {};
  for (const [flow, { starts, to }] of Object.entries(app.flows)) {
    const cache = caches[to];
    if (starts !== 'emptied' || cache === undefined) continue;
    if (!cache.feed.isShared)
      throw new TallyError('CAPABILITY_MISSING', {
        what: `cache ${to} keeps its values in each process alone, and a flow runs in one of them`,
        where: `flow ${flow}`,
        mend: 'give the cache a store; memory() where there is one process only',
      });
    ends[to] = { system: 'cache', sink: cacheSink(cache.feed, ledger) };
  }
  return ends;
}

/** The lanes that flows bring to a cache. */
export function lanesOf(app: TallyApp, cache: string): ReadonlySet<string> {
  const flows = Object.values(app.flows).filter(
    ({ to, starts }) => to === cache && starts === 'emptied',
  );
  return new Set(flows.map(({ from }) => from));
}
