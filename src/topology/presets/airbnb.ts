/** Homes, nights and money, after what Airbnb has published; simplified. */
export const airbnb = `# After what Airbnb has told of its stores; simplified, and not its present state.
# Reservations are money and nights that exist once: MySQL with transactions, captured, and everything else derived.
name: airbnb
severities: { no-restore-evidence: off }

services:
  - name: web
    team: guest
    instances: 100
    availability: 99.95%
    latency: 30ms
    storage:
      sessions: { system: redis, copies: 2 }
    calls:
      - { to: reservations, timeout: 1s }
      - { to: listings, timeout: 400ms }
    queries:
      - { name: search-homes, reads: [listings], from: listings.search, freshness: any }

  - name: listings
    team: host
    instances: 50
    availability: 99.95%
    latency: 25ms
    storage:
      primary: { system: mysql, configuration: group-replication, copies: 3 }
      cache: { system: memcached, copies: 3, invalidation: flow }         # the same homes, again and again
      search: { system: elasticsearch, copies: 2, rebuild: 6h }           # words and places and dates in one question
      objects: { system: s3 }                                             # photographs
      events: { system: kafka, configuration: acks-all, copies: 3, retention: 7d }
    queries:
      - { name: listing-after-edit, reads: [listings], from: search, freshness: own-writes, waits: evidence }

  - name: reservations
    team: trips
    instances: 50
    availability: 99.99%
    latency: 40ms
    storage:
      primary: { system: mysql, configuration: single, copies: 2 }        # a night is sold once: SERIALIZABLE on the primary
      events: { system: kafka, configuration: acks-all, copies: 3, retention: 30d }
    calls:
      - { to: payments, timeout: 5s }
    queries:
      - { name: my-trips, reads: [reservations], freshness: own-writes, waits: source }
    transactions:
      - { name: book, across: [primary, payments.primary], by: saga }

  - name: payments
    team: money
    instances: 20
    availability: 99.99%
    latency: 300ms
    storage:
      primary: { system: mysql, configuration: single, copies: 2 }

  - name: insight
    team: data
    instances: 5
    storage:
      archive: { system: s3 }
      analytics: { system: trino, copies: 50 }       # asks the archive, keeps nothing

data:
  listings: { owner: listings, kind: rows, invariants: [unique] }
  photographs: { owner: listings, store: listings.objects, kind: blobs, itemSize: 20MB }
  reservations: { owner: reservations, kind: rows, invariants: [unique, balance] }
  payments: { owner: payments, kind: rows, invariants: [unique, balance] }

flows:
  - { from: listings.primary, to: listings.events, by: capture, data: [listings] }
  - { from: listings.events, to: listings.search, by: events, data: [listings] }
  - { from: listings.events, to: listings.cache, by: events, data: [listings] }
  - { from: reservations.primary, to: reservations.events, by: capture, data: [reservations] }
  - { from: reservations.events, to: insight.archive, by: events, data: [reservations] }

streams:
  - { name: listing-changes, store: listings.events, key: listing, partitions: 32, data: [listings], retention: 7d, consumers: [listings] }
  - { name: reservation-changes, store: reservations.events, key: reservation, partitions: 32, order: key, data: [reservations], retention: 30d, consumers: [insight] }
`;
