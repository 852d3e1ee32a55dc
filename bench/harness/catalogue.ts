import type { Bench } from '../bench.ts';

/** A benchmark in the list: its bars are known without loading it. */
export interface Listed {
  readonly bars: readonly string[];
  load(): Promise<Bench>;
}

/** All benchmarks by name, in the order in which they run. */
export const benches: Readonly<Record<string, Listed>> = {
  ledger: {
    bars: ['≥ 10 × the rate of single durable commits at 64 callers'],
    load: async () => (await import('../ledger.ts')).ledgerBench,
  },
  'ledger-postgres': {
    bars: ['≥ 5 × the rate of single transactions at 64 callers'],
    load: async () => (await import('../ledger-postgres.ts')).ledgerPostgresBench,
  },
  'capture-postgres': {
    bars: [
      'stream and capture ≥ 0.8 × pg_recvlogical',
      '≥ 30 000 rows/s into Redis',
      'memory ≤ 150 MiB',
    ],
    load: async () => (await import('../capture-postgres.ts')).capturePostgres,
  },
  'latency-redis': {
    bars: ['p50 ≤ 5 ms', 'p99 ≤ 50 ms'],
    load: async () => (await import('../latency-redis.ts')).latencyRedis,
  },
  'evidence-postgres': {
    bars: [
      'write with evidence ≤ 2 % slower at 16 callers',
      '≤ 0.12 ms alone',
      'barrier that waits p99 ≤ 100 ms',
    ],
    load: async () => (await import('../evidence-postgres.ts')).evidencePostgres,
  },
  'outbox-postgres': {
    bars: ['≥ 10 000 messages/s'],
    load: async () => (await import('../outbox-postgres.ts')).outboxPostgres,
  },
  'backfill-postgres': {
    bars: ['≥ 50 000 rows/s while writes go on', 'lag of the stream meanwhile ≤ 2 × without'],
    load: async () => (await import('../backfill-postgres.ts')).backfillPostgres,
  },
  debezium: {
    bars: ['beside Debezium: no bar'],
    load: async () => (await import('../debezium.ts')).debeziumBench,
  },
  log: {
    bars: ['append ≥ 0.8 × one writer of raw batches', 'read ≥ 500 000 entries/s'],
    load: async () => (await import('../log.ts')).logBench,
  },
  'capture-sqlite': {
    bars: ['evidence ≤ 2 % slower', 'stream ≥ 250 000 rows/s'],
    load: async () => (await import('../capture-sqlite.ts')).captureSqlite,
  },
  flow: {
    bars: ['≥ 50 000 rows/s', 'memory ≤ 150 MiB whatever the table and the transaction'],
    load: async () => (await import('../flow.ts')).flowBench,
  },
  'flow-duckdb': {
    bars: ['append-only ≥ 100 000 rows/s', 'memory ≤ 150 MiB and DuckDB’s own limit'],
    load: async () => (await import('../flow-duckdb.ts')).flowDuckdbBench,
  },
  duckdb: {
    bars: ['append-only ≥ 100 000 rows/s', 'upserts ≥ 0.7 × a staged MERGE by the driver'],
    load: async () => (await import('../duckdb.ts')).duckdbBench,
  },
  evidence: {
    bars: ['write with evidence ≤ 2 % slower at 16 callers'],
    load: async () => (await import('../evidence.ts')).evidenceBench,
  },
  barrier: {
    bars: ['covered already ≤ 20 µs'],
    load: async () => (await import('../barrier.ts')).barrierBench,
  },
  'saga-postgres': {
    bars: [
      'sagas/s ≥ 0.75 × a bare fenced journal with group commit at 1, 16, 64 and 256 callers',
      'p50 alone ≤ 1.3 × its durable commits',
    ],
    load: async () => (await import('../saga-postgres.ts')).sagaPostgresBench,
  },
  'saga-sqlite': {
    bars: ['≥ 5 000 sagas/s at 256 callers'],
    load: async () => (await import('../saga-sqlite.ts')).sagaSqliteBench,
  },
  'saga-waiting': {
    bars: ['memory ≤ 300 MiB', 'resumed ≤ 5 s after a restart'],
    load: async () => (await import('../saga-waiting.ts')).sagaWaitingBench,
  },
  'saga-takeover': {
    bars: ['≤ the lease + 1 s after SIGKILL'],
    load: async () => (await import('../saga-takeover.ts')).sagaTakeoverBench,
  },
  aggregates: {
    bars: ['loading 1 000 events ≤ 1.3 × the read of the driver'],
    load: async () => (await import('../aggregates.ts')).aggregatesBench,
  },
  architecture: {
    bars: ['lint of 1 000 services ≤ 1 s', '≥ 100 000 spans/s', 'advice ≤ 50 ms'],
    load: async () => (await import('../architecture.ts')).architectureBench,
  },
  'events-postgres': {
    bars: [
      'p50 alone ≤ 1.5 × one durable INSERT',
      'appends of 256 callers ≥ 0.8 × a raw group commit',
      'replay ≥ 0.8 × raw pages',
      'load of 1,000 events ≤ 1.3 × the raw read',
      'building a read model ≥ 100 000 events/s that keeps nothing, ≥ 60 000 of documents',
      'append to visible p99 ≤ 20 ms at 1,000/s',
    ],
    load: async () => (await import('../events-postgres.ts')).eventsPostgres,
  },
  'events-sqlite': {
    bars: ['single appends of 256 callers ≥ 0.7 × batched inserts'],
    load: async () => (await import('../events-sqlite.ts')).eventsSqlite,
  },
  compose: {
    bars: [
      'guarded call ≤ 2 µs',
      'limit 2 is 2',
      'page of five p99 ≤ 9 ms at ≤ 5 % more calls',
      'one that hangs: its own deadline ± 5 ms',
    ],
    load: async () => (await import('../compose.ts')).composeBench,
  },
  cache: {
    bars: [
      'hit of a copy ≤ 0.5 µs',
      'hit of Redis at 64 callers ≥ 120 000/s and ≤ 5 µs, alone ≤ 60 µs',
      'getMany of 1 000 keys ≤ 1.5 ms',
      '4 × 200 readers: 1 load, p99 ≤ 106 ms',
      'holder killed: ≤ 50 ms to the second load, p99 ≤ 400 ms',
      'Redis hangs: loader + 30 ms',
    ],
    load: async () => (await import('../cache.ts')).cacheBench,
  },
  'compose-join': {
    bars: ['1 000 keys ≤ 1.5 ms'],
    load: async () => (await import('../compose-join.ts')).composeJoinBench,
  },
};
