import type { Hit, Rule } from '../finding.ts';
import type { StoreNode } from '../model.ts';
import { holderOf } from '../graph.ts';
import type { Topology } from '../topology.ts';

/** A log is made to be shared, and a warehouse or an archive is read by many: that is what they are for. */
const SHARED_BY_DESIGN: ReadonlySet<string> = new Set([
  'events',
  'queue',
  'analytics',
  'archive',
  'metrics',
  'config',
]);

/** Two services on one store. */
export const sharedStore: Rule = {
  id: 'shared-store',
  severity: 'error',
  about: 'Two services use one store.',
  remedy:
    'give the store to one of them; let the others have its changes by a flow, or ask it by a call',
  cost: 'no schema can change and no load can grow without the other team; an outage of one is an outage of both',
  *find({ stores }): Iterable<Hit> {
    for (const store of stores.values()) {
      const users = store.users.filter(({ role }) => !SHARED_BY_DESIGN.has(role));
      const services = [...new Set(users.map(({ service }) => service))];
      const last = users.at(-1);
      if (services.length < 2 || last === undefined) continue;
      const owners = users.filter(({ role }) => role === 'primary');
      yield {
        subject: store.id,
        path: last.path,
        why: `${store.id} (${store.title}) is used by ${services.join(', ')}`,
        ...(owners.length < 2 ? { severity: 'warning' as const } : {}),
      };
    }
  },
};

/** Data that somebody else than its owner touches. */
export const sharedData: Rule = {
  id: 'shared-data',
  severity: 'error',
  about: 'A service writes or reads data of another in that one’s store.',
  remedy: 'let the owner change it on request, and carry it to where it is read by a flow',
  cost: 'nobody can say who wrote a wrong row; each change of the table breaks a service that nobody thought of',
  *find({ services, data }): Iterable<Hit> {
    for (const service of services.values()) {
      for (const kind of ['writes', 'reads'] as const)
        for (const [index, name] of (service[kind] ?? []).entries()) {
          const owner = data.get(name)?.owner;
          if (owner === undefined || owner === service.name) continue;
          yield {
            subject: `${service.name} ${kind} ${name}`,
            path: `${service.path}.${kind}[${index}]`,
            why: `${service.name} ${kind} ${name}, which ${owner} owns`,
            ...(kind === 'reads' ? { severity: 'warning' as const } : {}),
          };
        }
    }
  },
};

/** One question over several stores. */
export const distributedJoin: Rule = {
  id: 'distributed-join',
  severity: 'warning',
  about: 'A query joins data of several stores.',
  remedy:
    'carry what it needs into one store by a flow and read it there; or collect the keys and ask each store once (per: batch)',
  cost: 'a page of 50 rows asks 51 times, is as slow as the slowest store and shows a state that never was',
  *find(topology): Iterable<Hit> {
    for (const service of topology.services.values())
      for (const query of service.queries ?? []) {
        if (query.from !== undefined || query.per === 'batch') continue;
        const stores = holders(topology, query.reads);
        if (stores.length < 2) continue;
        const perRow = query.per === 'row';
        yield {
          subject: `${service.name}.${query.name}`,
          path: query.path,
          why: `${query.name} joins ${query.reads.join(', ')} of ${stores.map(({ id }) => id).join(', ')}${
            perRow ? ', row by row' : '; nothing says that keys are asked for in batches'
          }`,
          ...(perRow ? { severity: 'error' as const } : {}),
        };
      }
  },
};

function holders(topology: Topology, names: readonly string[]): readonly StoreNode[] {
  const found = new Map<string, StoreNode>();
  for (const name of names) {
    const store = holderOf(topology, name);
    if (store !== undefined) found.set(store.id, store);
  }
  return [...found.values()];
}
