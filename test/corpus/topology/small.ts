/** A topology with the findings that an engineer would write beside it. */
export interface Labelled {
  readonly name: string;
  readonly text: string;
  /** `rule subject`, as the lint should say them; what cannot be seen in the file is labelled too. */
  readonly expected: readonly string[];
}

const quiet = 'severities: { no-restore-evidence: off, call-without-timeout: off }\n';
const store = (more = ''): string =>
  `{ system: postgresql, configuration: sync-standby, copies: 2${more} }`;

/** One mistake each, and beside it the same thing done well. */
export const small: readonly Labelled[] = [
  {
    name: 'two services write one database',
    text: `${quiet}services: [{ name: a, storage: { primary: db } }, { name: b, storage: { primary: db } }]\nstores: { db: ${store()} }`,
    expected: ['shared-store db'],
  },
  {
    name: 'two services on one cluster of topics, which is what it is for',
    text: `${quiet}services: [{ name: a, storage: { events: bus } }, { name: b, storage: { events: bus } }]\nstores: { bus: { system: kafka, copies: 3 } }`,
    expected: [],
  },
  {
    name: 'a service writes the table of another',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()} } }, { name: b, writes: [users] }]\ndata: { users: a }`,
    expected: ['shared-data b writes users'],
  },
  {
    name: 'a join over two stores, row by row',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()} }, queries: [{ name: q, reads: [x, y], per: row }] }, { name: b, storage: { primary: ${store()} } }]\ndata: { x: a, y: b }`,
    expected: ['distributed-join a.q'],
  },
  {
    name: 'the same, with keys in batches',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()} }, queries: [{ name: q, reads: [x, y], per: batch }] }, { name: b, storage: { primary: ${store()} } }]\ndata: { x: a, y: b }`,
    expected: [],
  },
  {
    name: 'a chain of four',
    text: `${quiet}services: [{ name: a, calls: [b] }, { name: b, calls: [c] }, { name: c, calls: [d] }, { name: d }]`,
    expected: ['sync-chain a → b → c → d'],
  },
  {
    name: 'a chain of four of which one link does not wait',
    text: `${quiet}services: [{ name: a, calls: [b] }, { name: b, calls: [{ to: c, mode: async }] }, { name: c, calls: [d] }, { name: d }]`,
    expected: [],
  },
  {
    name: 'a circle',
    text: `${quiet}services: [{ name: a, calls: [b] }, { name: b, calls: [c] }, { name: c, calls: [a] }]`,
    expected: ['sync-cycle a ↔ b ↔ c'],
  },
  {
    name: 'a circle that one event opens',
    text: `${quiet}services: [{ name: a, calls: [b] }, { name: b, calls: [{ to: a, mode: async }] }]`,
    expected: [],
  },
  {
    name: 'the index is written by the application',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, search: { system: opensearch, copies: 2 } } }]\nflows: [{ from: a.primary, to: a.search, by: application }]`,
    expected: ['dual-write a.primary → a.search'],
  },
  {
    name: 'the index is fed by an outbox',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, search: { system: opensearch, copies: 2 } } }]\nflows: [{ from: a.primary, to: a.search, by: outbox }]`,
    expected: [],
  },
  {
    name: 'money and stock together, by hope',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()} }, transactions: [{ name: t, across: [primary, b.primary] }] }, { name: b, storage: { primary: ${store()} } }]`,
    expected: ['transaction-without-saga a.t'],
  },
  {
    name: 'money and stock together, by a saga',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()} }, transactions: [{ name: t, across: [primary, b.primary], by: saga }] }, { name: b, storage: { primary: ${store()} } }]`,
    expected: [],
  },
  {
    name: 'a cache that nobody empties',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, cache: { system: memcached, copies: 2 } } }]`,
    expected: ['cache-without-owner a.cache'],
  },
  {
    name: 'a cache with a time to live',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, cache: { system: memcached, copies: 2, invalidation: ttl } } }]`,
    expected: [],
  },
  {
    name: 'an index as the only copy',
    text: `${quiet}services: [{ name: a, storage: { primary: { system: elasticsearch, copies: 3 } } }]\ndata: { x: a }`,
    expected: ['search-as-source a.primary'],
  },
  {
    name: 'orders in two topics, one reader of both',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, events: { system: kafka, copies: 3 } } }, { name: b }]\ndata: { orders: a }\nstreams:\n  - { name: placed, store: a.events, key: id, data: [orders], consumers: [b] }\n  - { name: paid, store: a.events, key: id, data: [orders], consumers: [b] }`,
    expected: ['streams-without-order orders in placed, paid'],
  },
  {
    name: 'orders in two topics, a reader for each',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, events: { system: kafka, copies: 3 } } }, { name: b }, { name: c }]\ndata: { orders: a }\nstreams:\n  - { name: placed, store: a.events, key: id, data: [orders], consumers: [b] }\n  - { name: paid, store: a.events, key: id, data: [orders], consumers: [c] }`,
    expected: [],
  },
  {
    name: 'a topic without a key',
    text: `${quiet}services: [{ name: a, storage: { events: { system: kafka, copies: 3 } } }]\nstreams: [{ name: t, store: a.events, partitions: 6 }]`,
    expected: ['unkeyed-topic t'],
  },
  {
    name: 'a topic of measurements, whose order does not matter',
    text: `${quiet}services: [{ name: a, storage: { events: { system: kafka, copies: 3 } } }]\nstreams: [{ name: t, store: a.events, partitions: 6, order: none }]`,
    expected: [],
  },
  {
    name: 'jobs that live in the queue',
    text: `${quiet}services: [{ name: a, storage: { queue: { system: rabbitmq, copies: 3 } }, queries: [{ name: pending, reads: [jobs], from: queue }] }]\ndata: { jobs: { owner: a, store: a.queue } }`,
    expected: ['queue-as-database jobs', 'queue-as-database a.pending'],
  },
  {
    name: 'an event store on a log that keeps everything',
    text: `${quiet}services: [{ name: a, storage: { events: { system: kafka, copies: 3 } } }]\ndata: { facts: { owner: a, store: a.events, kind: events } }`,
    expected: [],
  },
  {
    name: 'a log that forgets before the index is filled',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, events: { system: kafka, copies: 3, retention: 1d }, search: { system: opensearch, copies: 2, rebuild: 3d } } }]\nflows: [{ from: a.primary, to: a.events, by: outbox }, { from: a.events, to: a.search, by: events }]`,
    expected: ['short-retention a.events → a.search'],
  },
  {
    name: 'photographs in a table',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()} } }]\ndata: { photographs: { owner: a, kind: blobs, itemSize: 8MB } }`,
    expected: ['blob-in-row-store photographs'],
  },
  {
    name: 'photographs in a bucket',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, objects: s3 } }]\ndata: { photographs: { owner: a, store: a.objects, kind: blobs, itemSize: 8MB } }`,
    expected: [],
  },
  {
    name: 'large values in a cache of small ones',
    text: `${quiet}services: [{ name: a, storage: { primary: { system: memcached, copies: 2 } } }]\ndata: { pages: { owner: a, itemSize: 3MB } }`,
    expected: ['item-too-large pages'],
  },
  {
    name: 'a key that grows for ever',
    text: `${quiet}services: [{ name: a, storage: { primary: { system: cassandra, copies: 3 } } }]\ndata: { messages: { owner: a, partition: { key: room, grows: true } } }`,
    expected: ['unbounded-partition messages'],
  },
  {
    name: 'the same with a bucket',
    text: `${quiet}services: [{ name: a, storage: { primary: { system: cassandra, copies: 3 } } }]\ndata: { messages: { owner: a, partition: { key: room, bucket: day, grows: true } } }`,
    expected: [],
  },
  {
    name: 'names that must be unique where nothing decides',
    text: `${quiet}services: [{ name: a, storage: { primary: { system: cassandra, configuration: one, copies: 3 } } }]\ndata: { accounts: { owner: a, invariants: [unique] } }`,
    expected: ['weak-store accounts unique'],
  },
  {
    name: 'names that must be unique, by a condition',
    text: `${quiet}services: [{ name: a, storage: { primary: { system: cassandra, configuration: lightweight-transactions, copies: 3 } } }]\ndata: { accounts: { owner: a, invariants: [unique] } }`,
    expected: [],
  },
  {
    name: 'a profile that is read from a replica after it was saved',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, replica: { system: postgresql, configuration: async-replica, copies: 2 } }, queries: [{ name: profile, reads: [users], from: replica, freshness: own-writes }] }]\ndata: { users: a }\nflows: [{ from: a.primary, to: a.replica, by: capture }]`,
    expected: ['stale-own-write a.profile'],
  },
  {
    name: 'the same, with a barrier',
    text: `${quiet}services: [{ name: a, storage: { primary: ${store()}, replica: { system: postgresql, configuration: async-replica, copies: 2 } }, queries: [{ name: profile, reads: [users], from: replica, freshness: own-writes, waits: evidence }] }]\ndata: { users: a }\nflows: [{ from: a.primary, to: a.replica, by: capture }]`,
    expected: [],
  },
  {
    name: 'one database on one machine',
    text: `${quiet}services: [{ name: a, storage: { primary: { system: mysql, copies: 1 } } }]`,
    expected: ['single-point-of-failure a.primary'],
  },
  {
    name: 'a service that runs once and that others wait for',
    text: `${quiet}services: [{ name: a, calls: [b] }, { name: b, instances: 1 }]`,
    expected: ['single-point-of-failure b'],
  },
];
