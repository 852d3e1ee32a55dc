import type { Labelled } from './small.ts';

/** Whole systems with several mistakes, labelled by what an engineer would say who knows more than the file. */
export const large: readonly Labelled[] = [
  {
    name: 'a shop that grew',
    text: `
severities: { no-restore-evidence: off, call-without-timeout: off }
services:
  - { name: web, calls: [cart, catalogue], storage: { sessions: { system: redis, copies: 1 } } }
  - name: cart
    calls: [orders]
    storage: { primary: { system: redis, copies: 2 } }
  - name: orders
    calls: [payments]
    storage:
      primary: { system: postgresql, configuration: sync-standby, copies: 2 }
      events: { system: kafka, copies: 3, retention: 3d }
    transactions: [{ name: checkout, across: [primary, payments.primary, catalogue.primary] }]
  - { name: payments, storage: { primary: { system: postgresql, configuration: sync-standby, copies: 2 } } }
  - name: catalogue
    storage:
      primary: { system: mongodb, copies: 3 }
      search: { system: elasticsearch, copies: 2, rebuild: 5d }
      cache: { system: redis, copies: 2 }
    queries: [{ name: product, reads: [products], from: search, freshness: own-writes }]
data:
  carts: { owner: cart, invariants: [counter] }
  orders: { owner: orders, invariants: [order] }
  payments: { owner: payments, invariants: [balance] }
  products: { owner: catalogue }
  manuals: { owner: catalogue, kind: blobs, itemSize: 40MB }
flows:
  - { from: catalogue.primary, to: catalogue.search, by: application, data: [products] }
streams:
  - { name: orders, store: orders.events, partitions: 12, data: [orders], consumers: [catalogue] }
`,
    expected: [
      'single-point-of-failure web.sessions',
      'sync-chain web → cart → orders → payments',
      'transaction-without-saga orders.checkout',
      'weak-store carts counter',
      'cache-without-owner catalogue.cache',
      'dual-write catalogue.primary → catalogue.search',
      'stale-own-write catalogue.product',
      'unkeyed-topic orders',
      'item-too-large manuals',
      // Nobody can see in the file that the cart is lost with Redis: its owner says it in the meeting.
      'single-point-of-failure cart.primary',
    ],
  },
  {
    name: 'telemetry of machines',
    text: `
severities: { no-restore-evidence: off, call-without-timeout: off }
services:
  - name: ingest
    storage:
      events: { system: kafka, configuration: acks-one, copies: 3, retention: 6h }
      primary: { system: cassandra, configuration: one, copies: 6 }
  - name: alarms
    storage: { metrics: { system: influxdb, copies: 1, rebuild: 2d } }
    queries: [{ name: last-alarm, reads: [alarms], from: ingest.events }]
  - name: reports
    storage: { analytics: { system: clickhouse, copies: 2, rebuild: 4h } }
data:
  readings: { owner: ingest, kind: measurements, partition: { key: device, grows: true } }
  alarms: { owner: alarms, store: alarms.metrics }
flows:
  - { from: ingest.events, to: ingest.primary, by: events, data: [readings] }
  - { from: ingest.events, to: alarms.metrics, by: events, data: [readings] }
  - { from: ingest.events, to: reports.analytics, by: events, data: [readings] }
streams:
  - { name: readings, store: ingest.events, key: device, partitions: 48, data: [readings], retention: 6h, consumers: [alarms, reports] }
`,
    expected: [
      'queue-as-database alarms.last-alarm',
      'unbounded-partition readings',
      'single-point-of-failure alarms.metrics',
      'short-retention ingest.events → alarms.metrics',
    ],
  },
  {
    name: 'a monolith being taken apart',
    text: `
severities: { no-restore-evidence: off, call-without-timeout: off }
services:
  - { name: monolith, storage: { primary: main, search: { system: opensearch, copies: 2 } }, calls: [billing] }
  - { name: billing, storage: { primary: main }, calls: [monolith] }
  - { name: mailer, storage: { primary: main }, reads: [customers] }
stores: { main: { system: mysql, configuration: single, copies: 1 } }
data:
  customers: { owner: monolith, store: main, invariants: [unique] }
  invoices: { owner: billing, store: main, invariants: [balance] }
`,
    expected: [
      'shared-store main',
      'sync-cycle billing ↔ monolith',
      'shared-data mailer reads customers',
      'single-point-of-failure main',
      // The index is written in the same request as the table, which the file does not say; the lint sees that nobody feeds it.
      'dual-write main → monolith.search',
    ],
  },
  {
    name: 'done well',
    text: `
severities: { no-restore-evidence: off }
services:
  - name: front
    instances: 3
    calls: [{ to: bookings, timeout: 1s }]
  - name: bookings
    instances: 3
    storage:
      primary: { system: cockroachdb, copies: 5 }
      cache: { system: valkey, copies: 2, invalidation: flow }
      events: { system: nats, configuration: sync-always, copies: 3, retention: 30d }
    queries: [{ name: mine, reads: [bookings], freshness: own-writes }]
  - name: statistics
    instances: 1
    storage: { analytics: { system: duckdb, rebuild: 1h } }
data:
  bookings: { owner: bookings, invariants: [unique, balance, order] }
flows:
  - { from: bookings.primary, to: bookings.events, by: outbox, data: [bookings] }
  - { from: bookings.primary, to: bookings.cache, by: capture, data: [bookings] }
  - { from: bookings.events, to: statistics.analytics, by: events, data: [bookings] }
streams:
  - { name: bookings, store: bookings.events, key: room, order: key, data: [bookings], retention: 30d, consumers: [statistics] }
`,
    expected: [],
  },
];
