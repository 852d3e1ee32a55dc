import type { Hit, Rule } from '../finding.ts';
import { filledStores, flowsOf, holdings } from '../graph.ts';
import type { Topology } from '../topology.ts';

/** One fact written twice by the application. */
export const dualWrite: Rule = {
  id: 'dual-write',
  severity: 'error',
  about: 'The application writes the same data into two stores itself.',
  remedy:
    'write the store that owns it, and let an outbox or capture carry the change (by: outbox, by: capture)',
  cost: 'a crash between the two writes, or two writers in another order, leaves them different for ever, and nobody is told',
  *find(topology): Iterable<Hit> {
    for (const { flow, from, to } of flowsOf(topology)) {
      if (flow.by !== 'application') continue;
      const bounded = to.declaration.invalidation === 'ttl';
      yield {
        subject: `${from.id} → ${to.id}`,
        path: flow.path,
        why: `${(flow.data ?? ['the same data']).join(', ')} is written to ${from.id} and to ${to.id} by the application${
          bounded ? '; a time to live ends a difference' : ''
        }`,
        ...(bounded ? { severity: 'warning' as const } : {}),
      };
    }
  },
};

/** A whole that nobody keeps whole. */
export const transactionWithoutSaga: Rule = {
  id: 'transaction-without-saga',
  severity: 'error',
  about: 'A change across stores has nothing that completes or undoes it.',
  remedy:
    'make it a saga with a compensation for each step, or write one store and carry the rest by an outbox',
  cost: 'the first crash between two stores leaves half of it: money taken and nothing sent',
  *find(topology): Iterable<Hit> {
    for (const service of topology.services.values())
      for (const transaction of service.transactions ?? []) {
        const stores = new Set(
          transaction.across.map((name) => topology.storeOf(name, service.name)?.id ?? name),
        );
        if (stores.size < 2 || transaction.by === 'saga' || transaction.by === 'outbox') continue;
        const twoPhase = transaction.by === 'two-phase';
        yield {
          subject: `${service.name}.${transaction.name}`,
          path: transaction.path,
          why: twoPhase
            ? `${transaction.name} commits ${[...stores].join(', ')} in two phases: a coordinator that dies leaves locks`
            : `${transaction.name} changes ${[...stores].join(', ')}, and nothing keeps it whole`,
          ...(twoPhase ? { severity: 'warning' as const } : {}),
        };
      }
  },
};

/** A cache that nobody empties. */
export const cacheWithoutOwner: Rule = {
  id: 'cache-without-owner',
  severity: 'warning',
  about: 'Nothing takes a changed value out of a cache.',
  remedy: 'feed the cache by a flow, or say who invalidates it (invalidation: flow, writer or ttl)',
  cost: 'readers see old values for as long as they are popular, which is when it matters',
  *find(topology): Iterable<Hit> {
    const filled = filledStores(topology);
    for (const store of topology.stores.values()) {
      const use = store.users.find(({ role }) => role === 'cache');
      const { invalidation } = store.declaration;
      if (use === undefined || filled.has(store.id)) continue;
      if (invalidation === 'ttl' || invalidation === 'writer') continue;
      yield {
        subject: store.id,
        path: use.path,
        why:
          invalidation === 'flow'
            ? `${store.id} says that a flow invalidates it, and no flow leads there`
            : `${store.id} (${store.title}) is a cache that no flow feeds, and nothing says who invalidates it`,
        ...(invalidation === undefined ? {} : { severity: 'error' as const }),
      };
    }
  },
};

/** An index that is the only copy. */
export const searchAsSource: Rule = {
  id: 'search-as-source',
  severity: 'error',
  about: 'A search index is the only place of some data.',
  remedy: 'keep the facts in a store with transactions, and fill the index by a flow',
  cost: 'it cannot be built again: a mapping that has to change, or a lost shard, is lost data',
  *find(topology): Iterable<Hit> {
    const filled = filledStores(topology);
    const held = holdings(topology);
    for (const store of topology.stores.values()) {
      if (store.family !== 'search') continue;
      const data = held.get(store.id);
      const primary = store.users.find(({ role }) => role === 'primary');
      const use = store.users.find(({ role }) => role === 'search');
      if (data !== undefined || primary !== undefined)
        yield {
          subject: store.id,
          path: data?.[0]?.path ?? primary?.path ?? store.declaration.path,
          why: `${store.id} (${store.title}) is the source of truth${data === undefined ? '' : ` of ${names(topology, data)}`}`,
        };
      else if (use !== undefined && !filled.has(store.id))
        yield {
          subject: store.id,
          path: use.path,
          why: `no flow fills ${store.id} (${store.title}): what is in it has no other declared source`,
          severity: 'warning',
        };
    }
  },
};

function names(topology: Topology, data: readonly unknown[]): string {
  return [...topology.data].flatMap(([name, one]) => (data.includes(one) ? [name] : [])).join(', ');
}
