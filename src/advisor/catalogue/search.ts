import { recalled } from '../fact.ts';
import type { SystemProfile } from '../system.ts';
import { configuration, MIB, PIB, openSource, operationsDays } from './build.ts';

const searchConfiguration = configuration(
  'cluster',
  'one replica of each shard, refresh every second (its default)',
  'opensearch-refresh',
  {
    cap: 'AP',
    pacelc: 'PC/EL',
    guarantees: [],
    durability: 'replicated',
    transactions: 'item',
    reach: 'region',
    survives: 1,
  },
  { read: ['guarantees'] },
);

/** What finds documents. */
export const search: readonly SystemProfile[] = [
  {
    id: 'elasticsearch',
    name: 'Elasticsearch',
    aliases: ['elastic', 'es', 'elk'],
    family: 'search',
    models: recalled(['search', 'document', 'analytics']),
    queries: recalled([
      'point',
      'range',
      'secondary-index',
      'full-text',
      'aggregate',
      'geo',
      'vector',
    ]),
    configurations: [searchConfiguration],
    readMs: recalled(10),
    bytesMax: recalled(5 * PIB),
    itemBytesMax: recalled(100 * MIB),
    license: openSource('AGPL-3.0 or SSPL or Elastic Licence, from 8.16'),
    run: recalled(['self-hosted', 'managed']),
    driver: recalled('@elastic/elasticsearch'),
    operations: operationsDays.cluster,
    tests: [
      {
        versions: '1.1.0',
        found: 'updates and inserted documents are lost in partitions',
        fixed: 'in part by early 2015',
        source: 'jepsen-elasticsearch-1.1',
      },
      {
        versions: 'early 2015, nine months after 1.1.0',
        found: 'documents are lost when the network fails, nodes pause or processes crash',
        fixed: 'a page of the project lists what was mended since',
        source: 'jepsen-elasticsearch-1.5',
      },
    ],
    prices: [],
    stretches: [
      {
        model: 'time-series',
        by: 'data streams',
        bytesMax: PIB,
        queries: ['range', 'aggregate', 'full-text'],
      },
    ],
    caution: recalled('an index that can be filled again, never the only copy of a fact'),
  },
  {
    id: 'opensearch',
    name: 'OpenSearch',
    aliases: ['amazon-opensearch'],
    family: 'search',
    models: recalled(['search', 'analytics']),
    queries: recalled([
      'point',
      'range',
      'secondary-index',
      'full-text',
      'aggregate',
      'geo',
      'vector',
    ]),
    configurations: [searchConfiguration],
    readMs: recalled(10),
    bytesMax: recalled(5 * PIB),
    itemBytesMax: recalled(100 * MIB),
    license: openSource('Apache-2.0'),
    run: recalled(['self-hosted', 'managed']),
    driver: recalled('@opensearch-project/opensearch'),
    operations: operationsDays.cluster,
    tests: [],
    prices: [],
    stretches: [
      {
        model: 'time-series',
        by: 'data streams',
        bytesMax: PIB,
        queries: ['range', 'aggregate', 'full-text'],
      },
    ],
    caution: recalled('an index that can be filled again, never the only copy of a fact'),
  },
];
