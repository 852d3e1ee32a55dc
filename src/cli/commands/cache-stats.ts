import type { Command } from '../command.ts';
import { withCaches } from '../caches.ts';
import { table } from '../table.ts';

/** `tally cache stats`: the caches of an application, and what the stores under them say. */
export const cacheStatsCommand: Command = {
  usage: 'tally cache stats APP.ts [CACHE]',
  about:
    'List caches: whether their shared tier answers, and what the stores that keep caches say.',
  options: {},
  rest: { min: 0, max: 1 },
  run: async (call, { out }) => {
    const app = await call.app();
    const names = call.rest.length === 0 ? Object.keys(app.caches) : call.rest;
    return withCaches(app, names, async (opened, stores) => {
      const caches = await Promise.all(
        [...opened].map(async ([name, cache]) => {
          // A look at any key tells whether the tier answers.
          await cache.inspect('tally cache stats').catch(() => undefined);
          const { sharedState, watching } = cache.stats();
          return { name, cache: cache.name, shared: sharedState, watching };
        }),
      );
      const keeping = [...stores].filter(([, store]) => store.caches !== undefined);
      const vitals = await Promise.all(
        keeping.map(async ([store, one]) => ({ store, ...(await one.vitals()) })),
      );
      if (call.json) out(JSON.stringify({ caches, stores: vitals }));
      else if (caches.length === 0) out('no caches: declare them with tally({ caches })');
      else {
        out(
          table([
            ['cache', 'shared tier', 'told of changes'],
            ...caches.map(({ name, shared, watching }) => [name, shared, watching ? 'yes' : 'no']),
          ]),
        );
        for (const { store, system, version, measures } of vitals) {
          out(`\n${store} (${system} ${version})`);
          out(table(measures.map(({ name, value, about = '' }) => [`  ${name}`, value, about])));
        }
      }
      return caches.some(({ shared }) => shared === 'down') ? 1 : 0;
    });
  },
};
