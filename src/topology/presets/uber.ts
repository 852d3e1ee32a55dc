/** The first years: one application, one PostgreSQL. What history had is found. */
export const uber1 = `# Uber, first phase (to about 2014), after what it has told; simplified.
# One application on one PostgreSQL. Right for its day: one place, transactions, one thing to operate.
# What ended it is found below: everything shares the store, there is one of it, and locations never stop coming.
name: uber-1
severities: { no-restore-evidence: off }

services:
  - name: api
    team: everyone
    instances: 20
    availability: 99.9%
    latency: 60ms
    storage:
      primary: trips
      cache: { system: redis, copies: 1 }                # dispatch state, emptied by hope
    calls:
      - { to: dispatch, timeout: 1s }

  - name: dispatch
    team: everyone
    instances: 5
    availability: 99.9%
    latency: 30ms
    storage:
      primary: trips                                     # the same tables as the API

stores:
  trips: { system: postgresql, configuration: single, copies: 1 }

data:
  riders: { owner: api, store: trips, kind: rows, invariants: [unique] }
  trips: { owner: api, store: trips, kind: rows, invariants: [references] }
  locations: { owner: dispatch, store: trips, kind: measurements }
`;

/** Services, and sharded MySQL beneath them. */
export const uber2 = `# Uber, second phase (about 2014 to 2019), after what it has told; simplified.
# Services with stores of their own; trips in cells on MySQL, never changed in place, with indexes that follow later.
# What it costs is found below: a request crosses many services, and the indexes are behind the writes.
name: uber-2
severities: { no-restore-evidence: off }

services:
  - name: gateway
    team: edge
    instances: 50
    availability: 99.99%
    latency: 10ms
    calls: [{ to: trips, timeout: 2s }]

  - name: trips
    team: marketplace
    instances: 80
    availability: 99.95%
    latency: 25ms
    storage:
      primary: { system: mysql, configuration: async-replica, copies: 3 }   # cells: written once, sharded by trip
      replica: { system: mysql, configuration: async-replica, copies: 3 }
      events: { system: kafka, configuration: acks-all, copies: 3, retention: 3d }
    calls: [{ to: pricing, timeout: 1s }]
    queries:
      - { name: trip-after-booking, reads: [trips], from: replica, freshness: own-writes }

  - name: pricing
    team: marketplace
    instances: 40
    availability: 99.95%
    latency: 40ms
    storage:
      cache: { system: redis, copies: 2, invalidation: ttl }
    calls: [{ to: geo, timeout: 500ms }]

  - name: geo
    team: maps
    instances: 40
    availability: 99.95%
    latency: 15ms
    storage:
      primary: { system: cassandra, configuration: one, copies: 6 }       # locations: many writes, none of them worth waiting for

  - name: receipts
    team: money
    instances: 10
    availability: 99.9%
    storage:
      analytics: { system: hive, copies: 3, rebuild: 7d }

data:
  trips: { owner: trips, kind: rows, invariants: [order] }
  locations: { owner: geo, kind: measurements, partition: { key: driver, bucket: hour, grows: true } }

flows:
  - { from: trips.primary, to: trips.replica, by: capture, data: [trips] }
  - { from: trips.primary, to: trips.events, by: capture, data: [trips] }
  - { from: trips.events, to: receipts.analytics, by: events, data: [trips] }

streams:
  - { name: trip-changes, store: trips.events, key: trip, partitions: 64, data: [trips], retention: 3d, consumers: [receipts] }
`;

/** Transactions again, over regions. */
export const uber3 = `# Uber, third phase (from about 2020), after what it has told; simplified.
# Fulfilment on Spanner: strict serializable over regions ended the repairs that eventual indexes had asked for.
# Everything that only reads is fed by the log, which keeps what a rebuild needs. No finding.
name: uber-3
severities: { no-restore-evidence: off }

services:
  - name: gateway
    team: edge
    instances: 100
    availability: 99.99%
    latency: 10ms
    calls:
      - { to: fulfilment, timeout: 1s }
      - { to: pricing, timeout: 300ms }

  - name: fulfilment
    team: marketplace
    instances: 200
    availability: 99.99%
    latency: 40ms
    storage:
      primary: { system: spanner, configuration: multi-region, copies: 5 }   # a trip, its driver and its order change together
      events: { system: kafka, configuration: acks-all, copies: 3, retention: 30d }
    queries:
      - { name: trip-after-booking, reads: [trips], freshness: own-writes }

  - name: pricing
    team: marketplace
    instances: 60
    availability: 99.95%
    latency: 20ms
    storage:
      cache: { system: redis, copies: 2, invalidation: flow }             # supply and demand by area, seconds old

  - name: geo
    team: maps
    instances: 60
    availability: 99.95%
    latency: 15ms
    storage:
      primary: { system: cassandra, configuration: one, copies: 6 }

  - name: history
    team: rider
    instances: 20
    storage:
      search: { system: opensearch, copies: 2, rebuild: 2d }
      analytics: { system: clickhouse, copies: 3, rebuild: 7d }

data:
  trips: { owner: fulfilment, kind: rows, invariants: [unique, order, references] }
  drivers: { owner: fulfilment, kind: rows, invariants: [balance] }
  locations: { owner: geo, kind: measurements, partition: { key: driver, bucket: hour, grows: true } }

flows:
  - { from: fulfilment.primary, to: fulfilment.events, by: capture, data: [trips, drivers] }
  - { from: fulfilment.events, to: pricing.cache, by: events, data: [drivers] }
  - { from: fulfilment.events, to: history.search, by: events, data: [trips] }
  - { from: fulfilment.events, to: history.analytics, by: events, data: [trips] }

streams:
  - { name: fulfilment, store: fulfilment.events, key: trip, partitions: 256, order: key, data: [trips, drivers], retention: 30d, consumers: [pricing, history] }
`;
