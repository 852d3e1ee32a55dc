import { recalled } from '../fact.ts';
import type { SystemProfile } from '../system.ts';
import { configuration, PIB, TIB, openSource, operationsDays, proprietary } from './build.ts';

/** Objects and files. */
export const objects: readonly SystemProfile[] = [
  {
    id: 's3',
    name: 'S3',
    aliases: ['amazon-s3', 'aws-s3', 'minio', 'r2', 'gcs'],
    family: 'objects',
    models: recalled(['objects']),
    queries: recalled(['point', 'range']),
    configurations: [
      configuration(
        'standard',
        'a bucket in one region, If-Match and If-None-Match',
        's3-conditional',
        {
          cap: 'CP',
          pacelc: 'PC/EC',
          guarantees: ['session', 'linearizable'],
          durability: 'replicated',
          transactions: 'item',
          reach: 'region',
          survives: 1,
        },
        { follows: ['transactions'] },
      ),
    ],
    readMs: recalled(30),
    bytesMax: recalled(1_000 * PIB),
    itemBytesMax: recalled(5 * TIB),
    license: proprietary('AWS service'),
    run: recalled(['managed', 'self-hosted']),
    driver: recalled('@aws-sdk/client-s3'),
    operations: operationsDays.managed,
    tests: [],
    prices: [recalled({ per: 'gib-month', dollars: 0.023 })],
    stretches: [],
  },
  {
    id: 'hdfs',
    name: 'HDFS',
    aliases: ['hadoop', 'hadoop-hdfs'],
    family: 'files',
    models: recalled(['objects']),
    queries: recalled(['point', 'range']),
    configurations: [
      configuration('ha', 'two NameNodes with a quorum journal, three copies', 'unchecked', {
        cap: 'CP',
        pacelc: 'PC/EC',
        guarantees: ['session', 'linearizable'],
        durability: 'replicated',
        transactions: 'item',
        reach: 'region',
        survives: 1,
      }),
    ],
    readMs: recalled(20),
    bytesMax: recalled(500 * PIB),
    itemBytesMax: recalled(100 * TIB),
    license: openSource('Apache-2.0'),
    run: recalled(['self-hosted', 'managed']),
    driver: recalled('webhdfs'),
    operations: operationsDays.platform,
    tests: [],
    prices: [],
    stretches: [],
  },
];
