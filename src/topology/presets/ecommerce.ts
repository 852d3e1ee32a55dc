/** A shop whose facts have one owner each, and whose other stores are fed by flows. No finding. */
export const ecommerce = `# A shop: orders and catalogue in PostgreSQL, and what reads them fast beside it. Each store is there for one reason.
name: ecommerce
severities: { no-restore-evidence: off }    # a preset restores nothing; take this line out of yours

services:
  - name: storefront
    team: web
    instances: 4
    availability: 99.95%
    latency: 30ms
    storage:
      sessions: { system: redis, copies: 2 }   # a lookup in each request, worth nothing tomorrow
    calls:
      - { to: orders, timeout: 800ms }
      - { to: catalogue, timeout: 300ms }
    queries:
      - { name: search-page, reads: [products], from: catalogue.search, freshness: any }

  - name: orders
    team: checkout
    instances: 3
    availability: 99.95%
    latency: 40ms
    storage:
      primary: { system: postgresql, configuration: sync-standby, copies: 2 }   # money: transactions, and no loss with one machine
      events: { system: kafka, configuration: acks-all, copies: 3, retention: 30d }   # every other team reads orders here, not in our tables
      archive: { system: s3 }                  # receipts: written once, read by name
    calls:
      - { to: payments, timeout: 3s }
    queries:
      - { name: my-orders, reads: [orders], freshness: own-writes, waits: source }
    transactions:
      - { name: place-order, across: [primary, payments.primary], by: saga }

  - name: payments
    team: checkout
    instances: 3
    availability: 99.99%
    latency: 200ms
    storage:
      primary: { system: postgresql, configuration: sync-standby, copies: 2 }

  - name: catalogue
    team: goods
    instances: 3
    availability: 99.95%
    latency: 20ms
    storage:
      primary: { system: postgresql, configuration: sync-standby, copies: 2 }
      cache: { system: redis, copies: 2, invalidation: flow }           # product pages
      search: { system: elasticsearch, copies: 2, rebuild: 2h }         # words, facets; built again at any time
    queries:
      - { name: product-after-edit, reads: [products], from: search, freshness: own-writes, waits: evidence }

  - name: reports
    team: data
    instances: 1
    storage:
      analytics: { system: clickhouse, copies: 2, rebuild: 12h }        # sums over years of orders

data:
  orders: { owner: orders, kind: rows, invariants: [references, order] }
  payments: { owner: payments, kind: rows, invariants: [unique, balance] }
  products: { owner: catalogue, kind: rows, invariants: [unique] }
  stock: { owner: catalogue, kind: rows, invariants: [balance] }
  receipts: { owner: orders, store: orders.archive, kind: blobs, itemSize: 2MB }

flows:
  - { from: orders.primary, to: orders.events, by: outbox, data: [orders] }
  - { from: orders.events, to: reports.analytics, by: events, data: [orders] }
  - { from: catalogue.primary, to: catalogue.search, by: capture, data: [products] }
  - { from: catalogue.primary, to: catalogue.cache, by: capture, data: [products, stock] }

streams:
  - { name: orders, store: orders.events, key: order_id, partitions: 12, order: key, data: [orders], retention: 30d, consumers: [reports] }
`;
