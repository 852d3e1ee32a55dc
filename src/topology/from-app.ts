import { findSystem } from '../advisor/catalogue.ts';
import type { Family } from '../advisor/system.ts';
import type { FlowDeclaration, Role, StoreDeclaration } from './model.ts';
import { resolveTopology, type TopologyReading } from './topology.ts';

/** The part of a declared application that a topology is made of. */
export interface DeclaredApp {
  readonly name: string;
  readonly stores: Readonly<Record<string, { readonly system: string }>>;
  readonly flows: Readonly<
    Record<
      string,
      { readonly from: string; readonly to: string; readonly tables: readonly string[] }
    >
  >;
}

/** What Tallystick's own stores are, where no system of the catalogue has their name. */
const OWN_SYSTEMS: Readonly<Record<string, Family>> = { files: 'objects', memory: 'key-value' };

/** What a store that only takes flows is for, by what it is. */
const ROLE_OF: Partial<Readonly<Record<Family, Role>>> = {
  cache: 'cache',
  'key-value': 'sessions',
  search: 'search',
  warehouse: 'analytics',
  graph: 'graph',
  'time-series': 'metrics',
  objects: 'objects',
  log: 'events',
  queue: 'queue',
};

/**
 * The topology of an application: one service with its stores, and its flows, which capture carries. What `tally({ … })`
 * cannot say (copies, invariants, restores) is not known, and not held against it. Stores keep their own names.
 */
export function topologyOfApp(app: DeclaredApp, file: string): TopologyReading {
  const sources = new Set(Object.values(app.flows).map(({ from }) => from));
  const stores: Record<string, StoreDeclaration> = {};
  for (const [name, { system }] of Object.entries(app.stores)) {
    const kind =
      findSystem(system) === undefined ? (OWN_SYSTEMS[system] ?? 'relational') : undefined;
    stores[name] = { path: `stores.${name}`, system, ...(kind === undefined ? {} : { kind }) };
  }
  const storage: Partial<Record<Role, StoreDeclaration>> = {};
  for (const [name, store] of Object.entries(stores)) {
    const family = store.kind ?? findSystem(store.system)?.family;
    const role: Role = sources.has(name) ? 'primary' : roleOf(family);
    // A role holds one store; a further one of the same kind is declared all the same, under its name.
    storage[role] ??= { path: `stores.${name}`, system: name };
  }
  const flows = Object.entries(app.flows).map(([name, { from, to, tables }]): FlowDeclaration => ({
    path: `flows.${name}`,
    name,
    from,
    to,
    by: 'capture',
    data: tables,
  }));
  return resolveTopology(
    {
      path: '',
      name: app.name,
      services: [{ path: '', name: app.name, storage }],
      stores,
      flows: flows.map(({ data: _tables, ...flow }) => flow),
    },
    new Map(),
    file,
  );
}

function roleOf(family: Family | undefined): Role {
  return (family === undefined ? undefined : ROLE_OF[family]) ?? 'replica';
}
