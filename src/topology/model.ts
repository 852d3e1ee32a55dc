import type { Family, Guarantee } from '../advisor/system.ts';

/** What a service uses a store for. */
export const roles = [
  'primary',
  'replica',
  'cache',
  'sessions',
  'search',
  'events',
  'queue',
  'analytics',
  'graph',
  'metrics',
  'objects',
  'archive',
  'config',
] as const;
export type Role = (typeof roles)[number];

/** How data gets from one store into another. `application`: the service writes both itself. */
export const carriers = ['capture', 'outbox', 'events', 'batch', 'application'] as const;
export type Carrier = (typeof carriers)[number];

/** What must always be true of some data, whoever writes it at the same time. */
export const invariants = ['unique', 'balance', 'counter', 'order', 'references'] as const;
export type Invariant = (typeof invariants)[number];

/** What some data is. */
export const dataKinds = [
  'rows',
  'documents',
  'events',
  'messages',
  'measurements',
  'blobs',
] as const;
export type DataKind = (typeof dataKinds)[number];

/** Anything that was declared at a place: `path` is its key in {@link Topology.places}. */
export interface Declared {
  readonly path: string;
}

export interface StoreDeclaration extends Declared {
  readonly system: string;
  /** What it is, where the catalogue does not know the system. */
  readonly kind?: Family;
  /** The catalogue's name of how it is set up, such as `sync-standby`. */
  readonly configuration?: string;
  /** Machines that hold all of it. */
  readonly copies?: number;
  readonly retention?: number;
  /** How long it takes to fill again from what feeds it. */
  readonly rebuild?: number;
  readonly restoreTested?: string;
  readonly availability?: number;
  readonly region?: string;
  readonly invalidation?: 'flow' | 'ttl' | 'writer' | 'none';
}

export interface CallDeclaration extends Declared {
  readonly to: string;
  readonly mode?: 'sync' | 'async';
  readonly timeout?: number;
  readonly perRequest?: number;
}

export interface QueryDeclaration extends Declared {
  readonly name: string;
  readonly reads: readonly string[];
  /** How keys of one store reach the next: one by one, or many at a time. */
  readonly per?: 'row' | 'batch';
  readonly from?: string;
  readonly freshness?: 'any' | 'own-writes';
  /** What makes own writes visible: a barrier on evidence, or pinning to the source. */
  readonly waits?: 'evidence' | 'source';
}

export interface TransactionDeclaration extends Declared {
  readonly name: string;
  readonly across: readonly string[];
  readonly by?: 'saga' | 'outbox' | 'two-phase' | 'none';
}

export interface ServiceDeclaration extends Declared {
  readonly name: string;
  readonly team?: string;
  readonly instances?: number;
  readonly availability?: number;
  readonly latency?: number;
  readonly storage?: Readonly<Partial<Record<Role, StoreDeclaration>>>;
  readonly calls?: readonly CallDeclaration[];
  readonly writes?: readonly string[];
  readonly reads?: readonly string[];
  readonly queries?: readonly QueryDeclaration[];
  readonly transactions?: readonly TransactionDeclaration[];
}

export interface DataDeclaration extends Declared {
  readonly owner: string;
  /** The store that is its source of truth: `SERVICE.ROLE`, or the name of a shared store. */
  readonly store?: string;
  readonly kind?: DataKind;
  readonly invariants?: readonly Invariant[];
  readonly itemSize?: number;
  readonly partition?: {
    readonly key: string;
    readonly bucket?: string;
    readonly grows?: boolean;
  } & Declared;
}

export interface FlowDeclaration extends Declared {
  readonly name?: string;
  readonly from: string;
  readonly to: string;
  readonly by: Carrier;
  readonly data?: readonly string[];
}

export interface StreamDeclaration extends Declared {
  readonly name: string;
  readonly store: string;
  readonly key?: string;
  readonly partitions?: number;
  readonly data?: readonly string[];
  readonly order?: 'total' | 'key' | 'none';
  readonly retention?: number;
  readonly consumers?: readonly string[];
}

export interface IgnoreDeclaration extends Declared {
  readonly rule: string;
  /** The subject of the finding, such as `orders.cache`; all subjects if it is not given. */
  readonly at?: string;
  readonly reason: string;
}

/** A topology as it was written. */
export interface TopologyDeclaration extends Declared {
  readonly name?: string;
  readonly services: readonly ServiceDeclaration[];
  readonly stores?: Readonly<Record<string, StoreDeclaration>>;
  readonly data?: Readonly<Record<string, DataDeclaration>>;
  readonly flows?: readonly FlowDeclaration[];
  readonly streams?: readonly StreamDeclaration[];
  readonly severities?: Readonly<Record<string, 'error' | 'warning' | 'note' | 'off'>>;
  readonly ignore?: readonly IgnoreDeclaration[];
}

/** One store of the topology with all that use it. */
export interface StoreNode {
  /** `SERVICE.ROLE`, or the name it was declared under. */
  readonly id: string;
  readonly system: string;
  /** The system's own spelling. */
  readonly title: string;
  readonly family: Family | undefined;
  /** What its configuration promises; undefined if the catalogue does not know. */
  readonly guarantees: readonly Guarantee[] | undefined;
  /** How that configuration reads, for messages. */
  readonly configuration: string | undefined;
  readonly declaration: StoreDeclaration;
  readonly users: readonly {
    readonly service: string;
    readonly role: Role;
    readonly path: string;
  }[];
}
