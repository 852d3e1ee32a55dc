/** Video on many regions, after what Netflix has published; simplified. Availability goes before consistency. */
export const netflix = `# After what Netflix has told of its stores; simplified, and not its present state.
# The rule of the house: a member who presses play sees something, whatever is down. So AP stores, and money apart.
name: netflix
severities: { no-restore-evidence: off }

services:
  - name: api
    team: edge
    instances: 200
    availability: 99.99%
    latency: 20ms
    calls:
      - { to: playback, timeout: 500ms }
      - { to: recommendations, timeout: 200ms }
      - { to: members, timeout: 300ms }

  - name: playback
    team: streaming
    instances: 100
    availability: 99.99%
    latency: 30ms
    storage:
      primary: { system: cassandra, configuration: one, copies: 9 }     # viewing history: written everywhere, read by member
      cache: { system: evcache, copies: 3, invalidation: ttl }          # mirrored over zones: a zone may go
      objects: { system: s3 }                                           # encodes: large, written once
      events: { system: kafka, configuration: acks-one, copies: 3, retention: 8h }   # every click: losing a few is cheaper than waiting
    queries:
      - { name: continue-watching, reads: [viewing], from: cache, freshness: any }

  - name: recommendations
    team: personalisation
    instances: 100
    availability: 99.9%
    latency: 50ms
    storage:
      cache: { system: evcache, copies: 3, invalidation: flow }         # computed ahead of time, row by row
      analytics: { system: spark, copies: 100 }
      archive: { system: s3 }

  - name: members
    team: identity
    instances: 50
    availability: 99.99%
    latency: 15ms
    storage:
      primary: { system: cassandra, configuration: quorum, copies: 9 }
      cache: { system: evcache, copies: 3, invalidation: writer }

  - name: billing
    team: money
    instances: 10
    availability: 99.95%
    latency: 80ms
    storage:
      primary: { system: mysql, configuration: group-replication, copies: 3 }   # money alone has transactions
    queries:
      - { name: invoice, reads: [invoices], freshness: own-writes, waits: source }

  - name: search
    team: discovery
    instances: 30
    availability: 99.9%
    latency: 40ms
    storage:
      search: { system: elasticsearch, copies: 3, rebuild: 6h }

  - name: telemetry
    team: insight
    instances: 50
    storage:
      metrics: { system: atlas, copies: 2 }     # the last hours in memory: to see what is wrong now

data:
  viewing: { owner: playback, kind: events, partition: { key: member, bucket: month, grows: true } }
  encodes: { owner: playback, store: playback.objects, kind: blobs }
  profiles: { owner: members, kind: documents }
  invoices: { owner: billing, kind: rows, invariants: [unique, references] }

flows:
  - { from: playback.primary, to: playback.events, by: outbox, data: [viewing] }
  - { from: playback.events, to: recommendations.archive, by: events, data: [viewing] }
  - { from: recommendations.archive, to: recommendations.analytics, by: batch }
  - { from: recommendations.analytics, to: recommendations.cache, by: batch }
  - { from: members.primary, to: search.search, by: capture, data: [profiles] }

streams:
  - { name: plays, store: playback.events, key: member, partitions: 500, data: [viewing], retention: 8h, consumers: [recommendations] }

ignore:
  - { rule: weak-store, at: invoices references, reason: rows that belong together are locked by SELECT … FOR UPDATE }
`;
