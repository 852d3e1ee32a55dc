import { findSystem, systemNames } from '../advisor/catalogue.ts';
import type { Family } from '../advisor/system.ts';
import { fieldPath, suggest } from '../core/options.ts';
import { PROBLEMS_MAX, readDocument, type Place, type Problem } from './document.ts';
import {
  roles,
  type DataDeclaration,
  type Role,
  type ServiceDeclaration,
  type StoreDeclaration,
  type StoreNode,
  type TopologyDeclaration,
} from './model.ts';
import { readShape } from './read.ts';
import { ruleIds } from './rule-ids.ts';
import { topologyShape } from './shapes.ts';

/** A topology with its names looked up: what the rules and the drawing read. */
export interface Topology {
  readonly file: string;
  readonly name: string;
  readonly declaration: TopologyDeclaration;
  readonly services: ReadonlyMap<string, ServiceDeclaration>;
  readonly stores: ReadonlyMap<string, StoreNode>;
  readonly data: ReadonlyMap<string, DataDeclaration>;
  /** The store that a name means, seen from a service: `orders.primary`, `cache`, or a store of its own name. */
  storeOf(name: string, from?: string): StoreNode | undefined;
  /** Where something stands; that of the nearest thing around it if it has no place of its own. */
  placeOf(path: string): Place;
}

/** A topology, or what keeps it from being one. */
export interface TopologyReading {
  readonly topology: Topology | undefined;
  readonly problems: readonly Problem[];
}

/**
 * Reads a topology of YAML or JSON. Names that lead nowhere and systems that are not known are problems, with the name
 * that was probably meant. Throws INPUT_INVALID if the text is no document at all, or over a limit.
 */
export function readTopology(text: string, file: string): TopologyReading {
  const { value, places, problems } = readShape(readDocument(text, file), topologyShape);
  if (value === undefined || problems.length > 0) return { topology: undefined, problems };
  return resolveTopology(value as TopologyDeclaration, places, file);
}

/** Looks up the names of a declared topology. */
export function resolveTopology(
  declaration: TopologyDeclaration,
  places: ReadonlyMap<string, Place>,
  file: string,
): TopologyReading {
  const resolver = new Resolver(declaration, places, file);
  const topology = resolver.resolve();
  return {
    topology: resolver.problems.length > 0 ? undefined : topology,
    problems: resolver.problems,
  };
}

class Resolver {
  readonly problems: Problem[] = [];
  readonly #declaration: TopologyDeclaration;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #file: string;
  readonly #services = new Map<string, ServiceDeclaration>();
  readonly #stores = new Map<string, StoreNode>();

  constructor(declaration: TopologyDeclaration, places: ReadonlyMap<string, Place>, file: string) {
    this.#declaration = declaration;
    this.#places = places;
    this.#file = file;
  }

  resolve(): Topology {
    const { name = 'topology', data = {}, services } = this.#declaration;
    for (const [id, store] of Object.entries(this.#declaration.stores ?? {}))
      this.#addStore(id, store, []);
    for (const service of services) this.#addService(service);
    const topology: Topology = {
      file: this.#file,
      name,
      declaration: this.#declaration,
      services: this.#services,
      stores: this.#stores,
      data: new Map(Object.entries(data)),
      storeOf: (wanted, from) => this.#storeOf(wanted, from),
      placeOf: (path) => placeOf(this.#places, path),
    };
    this.#checkReferences(topology);
    return topology;
  }

  #addService(service: ServiceDeclaration): void {
    if (this.#services.has(service.name)) {
      this.#refuse(`${service.path}.name`, `there are two services ${service.name}`, 'rename one');
      return;
    }
    this.#services.set(service.name, service);
    for (const role of roles) {
      const store = service.storage?.[role];
      if (store === undefined) continue;
      const use = { service: service.name, role, path: store.path };
      const shared = this.#declaration.stores?.[store.system];
      const node = shared === undefined ? undefined : this.#stores.get(store.system);
      if (node === undefined) this.#addStore(`${service.name}.${role}`, store, [use]);
      else this.#stores.set(node.id, { ...node, users: [...node.users, use] });
    }
  }

  #addStore(id: string, declaration: StoreDeclaration, users: StoreNode['users']): void {
    const profile = findSystem(declaration.system);
    if (profile === undefined && declaration.kind === undefined) {
      const near = suggest(declaration.system, [
        ...systemNames(),
        ...Object.keys(this.#declaration.stores ?? {}),
      ]);
      this.#refuse(
        declaration.path,
        `${JSON.stringify(declaration.system)} is neither a system of the catalogue nor a store under stores`,
        `${near === undefined ? '' : `did you mean ${near}? `}for a system that the catalogue does not know, add kind`,
      );
      return;
    }
    const wanted = declaration.configuration;
    const configurations = profile?.configurations ?? [];
    const configuration = configurations.find(
      (one) => one.id === (wanted ?? configurations[0]?.id),
    );
    if (wanted !== undefined && configuration === undefined) {
      const known = configurations.map((one) => one.id);
      const near = suggest(wanted, known);
      this.#refuse(
        `${declaration.path}.configuration`,
        `${profile?.name ?? declaration.system} has no configuration ${JSON.stringify(wanted)}`,
        `${near === undefined ? '' : `did you mean ${near}? `}known ones are ${known.join(', ')}`,
      );
    }
    this.#stores.set(id, {
      id,
      system: profile?.id ?? declaration.system,
      title: profile?.name ?? declaration.system,
      family: declaration.kind ?? (profile?.family satisfies Family | undefined),
      guarantees: configuration?.guarantees?.value,
      configuration:
        configuration === undefined ? undefined : `${configuration.id}: ${configuration.about}`,
      declaration,
      users,
    });
  }

  #storeOf(wanted: string, from?: string): StoreNode | undefined {
    const own = from === undefined ? undefined : this.#byRole(from, wanted);
    if (own !== undefined) return own;
    const direct = this.#stores.get(wanted);
    if (direct !== undefined) return direct;
    const dot = wanted.lastIndexOf('.');
    return dot === -1 ? undefined : this.#byRole(wanted.slice(0, dot), wanted.slice(dot + 1));
  }

  #byRole(service: string, role: string): StoreNode | undefined {
    const store = this.#services.get(service)?.storage?.[role as Role];
    if (store === undefined || !(roles as readonly string[]).includes(role)) return undefined;
    return this.#stores.get(`${service}.${role}`) ?? this.#stores.get(store.system);
  }

  #checkReferences(topology: Topology): void {
    const { flows = [], streams = [], ignore = [], severities = {} } = this.#declaration;
    for (const { rule, path } of ignore) this.#checkName('rule', rule, ruleIds, `${path}.rule`);
    for (const rule of Object.keys(severities))
      this.#checkName('rule', rule, ruleIds, fieldPath('severities', rule));
    for (const service of this.#services.values()) this.#checkService(service, topology);
    for (const [name, data] of topology.data) {
      this.#checkName('service', data.owner, [...this.#services.keys()], `${data.path}.owner`);
      if (data.store !== undefined) this.#checkStore(data.store, data.owner, `${data.path}.store`);
      else if (this.#services.has(data.owner) && this.#storeOf('primary', data.owner) === undefined)
        this.#refuse(
          data.path,
          `nothing says where ${name} is kept: ${data.owner} has no primary store`,
          'add store',
        );
    }
    for (const flow of flows) {
      this.#checkStore(flow.from, undefined, `${flow.path}.from`);
      this.#checkStore(flow.to, undefined, `${flow.path}.to`);
      this.#checkData(flow.data, `${flow.path}.data`, topology);
    }
    for (const stream of streams) {
      this.#checkStore(stream.store, undefined, `${stream.path}.store`);
      this.#checkData(stream.data, `${stream.path}.data`, topology);
      for (const [index, consumer] of (stream.consumers ?? []).entries())
        this.#checkName(
          'service',
          consumer,
          [...this.#services.keys()],
          `${stream.path}.consumers[${index}]`,
        );
    }
  }

  #checkService(service: ServiceDeclaration, topology: Topology): void {
    const known = this.#services;
    for (const { to, path } of service.calls ?? [])
      if (!known.has(to)) this.#checkName('service', to, [...known.keys()], `${path}.to`);
    this.#checkData(service.reads, `${service.path}.reads`, topology);
    this.#checkData(service.writes, `${service.path}.writes`, topology);
    for (const query of service.queries ?? []) {
      this.#checkData(query.reads, `${query.path}.reads`, topology);
      if (query.from !== undefined)
        this.#checkStore(query.from, service.name, `${query.path}.from`);
    }
    for (const transaction of service.transactions ?? [])
      for (const [index, store] of transaction.across.entries())
        this.#checkStore(store, service.name, `${transaction.path}.across[${index}]`);
  }

  #checkData(names: readonly string[] | undefined, path: string, topology: Topology): void {
    for (const [index, name] of (names ?? []).entries())
      this.#checkName('data', name, [...topology.data.keys()], `${path}[${index}]`);
  }

  #checkStore(name: string, from: string | undefined, path: string): void {
    if (this.#storeOf(name, from) !== undefined) return;
    this.#checkName('store', name, [...this.#stores.keys()], path);
  }

  #checkName(kind: string, name: string, known: readonly string[], path: string): void {
    if (known.includes(name)) return;
    const near = suggest(name, known);
    this.#refuse(
      path,
      `there is no ${kind} ${JSON.stringify(name)}`,
      near === undefined ? `declare it` : `did you mean ${near}?`,
    );
  }

  #refuse(path: string, what: string, mend: string): void {
    if (this.problems.length < PROBLEMS_MAX)
      this.problems.push({ path, at: placeOf(this.#places, path), what, mend });
  }
}

function placeOf(places: ReadonlyMap<string, Place>, path: string): Place {
  let at = path;
  for (;;) {
    const place = places.get(at);
    if (place !== undefined) return place;
    const cut = Math.max(at.lastIndexOf('.'), at.lastIndexOf('['));
    if (cut <= 0) return places.get('') ?? { line: 1, column: 1 };
    at = at.slice(0, cut);
  }
}
