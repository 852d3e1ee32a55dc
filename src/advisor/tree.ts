import type { Workload } from './workload.ts';

/** A leaf of the decision tree that people carry in their heads, and whom it names. */
export interface Leaf {
  readonly id: string;
  readonly says: string;
  readonly systems: readonly string[];
}

const leaf = (id: string, says: string, ...systems: readonly string[]): Leaf => ({
  id,
  says,
  systems,
});

/** The thirteen leaves, by what leads to them. */
const leaves = {
  'key-value/fast': leaf('key-value/fast', 'key-value, under 1 ms', 'redis', 'memcached'),
  'key-value/durable': leaf(
    'key-value/durable',
    'key-value, critical durability',
    'dynamodb',
    'foundationdb',
  ),
  'key-value/other': leaf('key-value/other', 'key-value otherwise', 'rocksdb', 'leveldb'),
  'document/strong': leaf('document/strong', 'document, strong consistency', 'mongodb'),
  'document/huge': leaf(
    'document/huge',
    'document, beyond a petabyte',
    'elasticsearch',
    'cassandra',
  ),
  'document/other': leaf('document/other', 'document otherwise', 'couchdb', 'rethinkdb'),
  'relational/global': leaf('relational/global', 'relational, global', 'spanner', 'cockroachdb'),
  'relational/analytics': leaf(
    'relational/analytics',
    'relational, analytics',
    'snowflake',
    'bigquery',
  ),
  'relational/other': leaf('relational/other', 'relational otherwise', 'postgresql', 'mysql'),
  'graph/huge': leaf('graph/huge', 'graph, beyond a billion edges', 'dgraph', 'janusgraph'),
  'graph/other': leaf('graph/other', 'graph otherwise', 'neo4j', 'arangodb'),
  'time-series/years': leaf(
    'time-series/years',
    'time series, kept for years',
    'cassandra',
    'hbase',
  ),
  'time-series/other': leaf(
    'time-series/other',
    'time series otherwise',
    'influxdb',
    'timescaledb',
  ),
} as const satisfies Readonly<Record<string, Leaf>>;

const PETABYTE = 1e15;
const BILLION = 1e9;
const YEARS_DAYS = 730;

/** The leaf that a workload comes to; undefined for models that the tree does not know. */
export function leafOf(workload: Workload): Leaf | undefined {
  switch (workload.model) {
    case 'key-value':
      if ((workload.latencyMs ?? Infinity) < 1) return leaves['key-value/fast'];
      return workload.durability === 'replicated'
        ? leaves['key-value/durable']
        : leaves['key-value/other'];
    case 'document':
      if (isStrong(workload)) return leaves['document/strong'];
      return (workload.bytes ?? 0) > PETABYTE ? leaves['document/huge'] : leaves['document/other'];
    case 'relational':
      if (workload.reach === 'global-writes') return leaves['relational/global'];
      return workload.analytics === true
        ? leaves['relational/analytics']
        : leaves['relational/other'];
    case 'graph':
      return (workload.edges ?? 0) > BILLION ? leaves['graph/huge'] : leaves['graph/other'];
    case 'time-series':
      return (workload.retentionDays ?? 0) >= YEARS_DAYS
        ? leaves['time-series/years']
        : leaves['time-series/other'];
    default:
      return undefined;
  }
}

function isStrong({ consistency = 'eventual', transactions = 'none' }: Workload): boolean {
  return (
    (consistency !== 'eventual' && consistency !== 'session') || transactions === 'interactive'
  );
}
