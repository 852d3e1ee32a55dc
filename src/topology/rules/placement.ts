import { findSystem } from '../../advisor/catalogue.ts';
import type { Guarantee } from '../../advisor/system.ts';
import type { Hit, Rule } from '../finding.ts';
import { filledStores, holderOf } from '../graph.ts';
import type { Invariant } from '../model.ts';

const ROW_STORES: ReadonlySet<string | undefined> = new Set(['relational', 'distributed-sql']);
const PARTITIONED: ReadonlySet<string | undefined> = new Set([
  'wide-column',
  'key-value',
  'document',
]);
/** From here on a value is moved out of its row in every read, backup and replica. */
const ROW_ITEM_BYTES_MAX = 1_048_576;

/** Files in a table. */
export const blobInRowStore: Rule = {
  id: 'blob-in-row-store',
  severity: 'warning',
  about: 'Files are kept in the rows of a database.',
  remedy:
    'keep the bytes in an object store under a name that never changes, and the name in the row',
  cost: 'backups, replicas, caches and vacuum carry the bytes; the database grows out of its machine first',
  *find(topology): Iterable<Hit> {
    for (const [name, data] of topology.data) {
      const store = holderOf(topology, name);
      const large = (data.itemSize ?? 0) > ROW_ITEM_BYTES_MAX;
      if (!ROW_STORES.has(store?.family) || (data.kind !== 'blobs' && !large)) continue;
      yield {
        subject: name,
        path: data.path,
        why: `${name} ${large ? `has items of ${megabytes(data.itemSize)}` : 'are blobs'} in ${store?.id} (${store?.title})`,
      };
    }
  },
};

/** What the system itself refuses. */
export const itemTooLarge: Rule = {
  id: 'item-too-large',
  severity: 'error',
  about: 'Items are larger than their store takes.',
  remedy: 'keep the item in an object store and its name here, or split it',
  cost: 'the write that is over the limit fails, and it is the largest customer’s',
  *find(topology): Iterable<Hit> {
    for (const [name, data] of topology.data) {
      const store = holderOf(topology, name);
      const most = findSystem(store?.system ?? '')?.itemBytesMax;
      if (store === undefined || most === undefined || (data.itemSize ?? 0) <= most.value) continue;
      yield {
        subject: name,
        path: data.path,
        why: `${name} has items of ${megabytes(data.itemSize)}, and ${store.title} takes ${megabytes(most.value)}${
          most.confidence === 'low' ? ' (not looked up)' : ''
        }`,
        ...(most.confidence === 'low' ? { severity: 'warning' as const } : {}),
      };
    }
  },
};

function megabytes(bytes = 0): string {
  return bytes >= 1e6 ? `${Math.round(bytes / 1e5) / 10} MB` : `${Math.round(bytes / 1e3)} kB`;
}

/** A partition that never ends. */
export const unboundedPartition: Rule = {
  id: 'unbounded-partition',
  severity: 'warning',
  about: 'One key gets rows for ever in a store that keeps a key on one machine.',
  remedy: 'add a bucket to the key, such as the day, or a hash of a fixed number of parts',
  cost: 'the busiest key becomes one machine’s disk and one machine’s queue, and cannot be moved',
  *find(topology): Iterable<Hit> {
    for (const [name, data] of topology.data) {
      const store = holderOf(topology, name);
      const { partition } = data;
      if (partition?.grows !== true || partition.bucket !== undefined) continue;
      if (!PARTITIONED.has(store?.family)) continue;
      yield {
        subject: name,
        path: partition.path,
        why: `${name} is partitioned by ${partition.key} in ${store?.id} (${store?.title}), and a key gets rows for ever`,
      };
    }
  },
};

/** What an invariant needs; the second list is what holds it only with care. */
const NEEDS: Readonly<
  Record<Invariant, { readonly any: readonly Guarantee[]; readonly withCare: readonly Guarantee[] }>
> = {
  unique: { any: ['linearizable', 'serializable', 'strict-serializable'], withCare: [] },
  counter: { any: ['linearizable', 'serializable', 'strict-serializable'], withCare: [] },
  balance: { any: ['serializable', 'strict-serializable'], withCare: ['snapshot'] },
  references: { any: ['serializable', 'strict-serializable'], withCare: ['snapshot'] },
  order: { any: ['linearizable', 'serializable', 'strict-serializable'], withCare: ['session'] },
};

/** A promise that the store does not keep. */
export const weakStore: Rule = {
  id: 'weak-store',
  severity: 'error',
  about: 'An invariant is declared on data whose store cannot keep it.',
  remedy:
    'use a configuration or a store that offers it, or give up the invariant and mend what breaks it later',
  cost: 'two requests at the same time break it: two accounts of one name, a balance below zero',
  *find(topology): Iterable<Hit> {
    for (const [name, data] of topology.data) {
      const store = holderOf(topology, name);
      // What the catalogue does not know is not held against a store.
      const offered = store?.guarantees;
      if (store === undefined || offered === undefined) continue;
      for (const invariant of data.invariants ?? []) {
        const { any, withCare } = NEEDS[invariant];
        if (any.some((one) => offered.includes(one))) continue;
        const careful = withCare.find((one) => offered.includes(one));
        yield {
          subject: `${name} ${invariant}`,
          path: data.path,
          why: `${name} must keep ${invariant}, which needs ${any[0]}, and ${store.title} as ${store.configuration ?? 'configured'} offers ${
            offered.length === 0 ? 'eventual consistency' : offered.join(', ')
          }`,
          ...(careful === undefined ? {} : { severity: 'warning' as const }),
        };
      }
    }
  },
};

/** A read that may not show what was just written. */
export const staleOwnWrite: Rule = {
  id: 'stale-own-write',
  severity: 'error',
  about: 'A reader must see its own write, and reads a copy that may be behind.',
  remedy:
    'wait for the evidence of the write (waits: evidence), or read the source for that request (waits: source)',
  cost: 'users save, see the old value, and save again',
  *find(topology): Iterable<Hit> {
    const filled = filledStores(topology);
    for (const service of topology.services.values())
      for (const query of service.queries ?? []) {
        if (query.freshness !== 'own-writes' || query.waits !== undefined) continue;
        const store =
          query.from === undefined
            ? holderOf(topology, query.reads[0] ?? '')
            : topology.storeOf(query.from, service.name);
        if (store === undefined) continue;
        const replica = store.users.some(({ role }) => role === 'replica');
        const weak = store.guarantees !== undefined && !store.guarantees.includes('session');
        if (!filled.has(store.id) && !replica && !weak) continue;
        yield {
          subject: `${service.name}.${query.name}`,
          path: query.path,
          why: `${query.name} must show own writes and reads ${store.id} (${store.title}), ${
            filled.has(store.id)
              ? 'which a flow fills'
              : replica
                ? 'a replica'
                : 'which does not promise them'
          }`,
        };
      }
  },
};
