/** What the other systems say of themselves. Title, address, and the day of it: published or last changed if it says so, read otherwise. */
export const systemDocuments = {
  'cassandra-tunable': [
    'Cassandra: tunable and linearizable consistency',
    'https://docs.datastax.com/en/cassandra-oss/2.1/cassandra/dml/dml_tunable_consistency_c.html',
    '2026-11-30',
  ],
  'hbase-acid': [
    'HBase: ACID semantics',
    'http://hbase.apache.org/acid-semantics.html',
    '2026-11-30',
  ],
  'riak-strong': [
    'Riak KV 2.2.3: strong consistency',
    'https://github.com/basho/basho_docs/blob/HEAD/content/riak/kv/2.2.3/configuring/strong-consistency.md',
    '2022-12-12',
  ],
  'riak-faq': [
    'Riak KV 2.2.3: questions',
    'https://github.com/basho/basho_docs/blob/HEAD/content/riak/kv/2.2.3/developing/faq.md',
    '2022-12-12',
  ],
  'opensearch-refresh': [
    'OpenSearch: refresh',
    'https://github.com/opensearch-project/documentation-website/blob/HEAD/_api-reference/document-apis/index.md',
    '2026-08-21',
  ],
  'neo4j-clustering': [
    'Neo4j: introduction to clustering',
    'https://neo4j.com/docs/operations-manual/current/clustering/introduction/',
    '2026-11-30',
  ],
  'neo4j-isolation': [
    'Neo4j: concurrent data access',
    'https://github.com/neo4j/docs-operations/blob/HEAD/modules/ROOT/pages/database-internals/concurrent-data-access.adoc',
    '2026-08-07',
  ],
  'arangodb-transactions': [
    'ArangoDB 3.12: limits of transactions',
    'https://github.com/arangodb/docs-hugo/blob/HEAD/site/content/arangodb/3.12/develop/transactions/limitations.md',
    '2026-08-21',
  ],
  'arangodb-license': [
    'ArangoDB 3.12: Community License, 100 GiB',
    'https://github.com/arangodb/docs-hugo/blob/HEAD/site/content/arangodb/3.12/features/_index.md',
    '2026-08-21',
  ],
  'dgraph-consistency': [
    'Dgraph: consistency model',
    'https://github.com/dgraph-io/dgraph-docs/blob/HEAD/docusaurus-docs/docs/design-concepts/consistency-model.md',
    '2026-03-17',
  ],
  'janusgraph-eventual': [
    'JanusGraph: eventually consistent backends',
    'https://github.com/JanusGraph/janusgraph/blob/HEAD/docs/advanced-topics/eventual-consistency.md',
    '2026-07-23',
  ],
  'janusgraph-transactions': [
    'JanusGraph: transactions',
    'https://github.com/JanusGraph/janusgraph/blob/HEAD/docs/basics/transactions.md',
    '2026-07-23',
  ],
  'influxdb-ttbr': [
    'InfluxDB Cloud: time to become readable',
    'https://github.com/influxdata/docs-v2/blob/HEAD/content/influxdb/cloud/reference/internals/ttbr.md',
    '2026-08-21',
  ],
  'influxdb-duplicates': [
    'InfluxDB v2: duplicate points',
    'https://github.com/influxdata/docs-v2/blob/HEAD/content/influxdb/v2/write-data/best-practices/duplicate-points.md',
    '2026-08-21',
  ],
  'atlas-overview': [
    'Atlas: overview',
    'https://github.com/Netflix/atlas-docs/blob/HEAD/docs/overview.md',
    '2026-07-21',
  ],
  'snowflake-transactions': [
    'Snowflake: transactions',
    'https://docs.snowflake.com/en/sql-reference/transactions.html',
    '2026-11-30',
  ],
  'redshift-isolation': [
    'Amazon Redshift: SERIALIZABLE and SNAPSHOT',
    'https://aws.amazon.com/about-aws/whats-new/2022/05/amazon-redshift-snapshot-isolation-level-support-concurrent-transactions',
    '2022-05-17',
  ],
  'bigquery-price': [
    'BigQuery costs (US rates as of March 2026; a third party)',
    'https://yukidata.com/google-bigquery-costs/',
    '2026-03-23',
  ],
  'bigquery-storage-price': [
    'BigQuery pricing 2026 (a third party)',
    'https://leanopstech.com/blog/google-bigquery-pricing-2026/',
    '2026-11-30',
  ],
  'clickhouse-quorum': [
    'ClickHouse consistency: insert_quorum, select_sequential_consistency',
    'https://openillumi.com/?p=109150',
    '2026-11-30',
  ],
  'kafka-design': [
    'Kafka: design',
    'https://github.com/apache/kafka/blob/HEAD/docs/design.html',
    '2024-10-25',
  ],
  'rabbitmq-quorum': [
    'RabbitMQ: quorum queues and streams',
    'https://github.com/rabbitmq/rabbitmq-website/blob/HEAD/docs/compare/kafka.md',
    '2026-08-21',
  ],
  'nats-jetstream': [
    'NATS JetStream',
    'https://github.com/nats-io/nats.docs/blob/HEAD/nats-concepts/jetstream/README.md',
    '2026-06-22',
  ],
  'sqs-quotas': [
    'Amazon SQS message quotas',
    'https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html',
    '2026-11-30',
  ],
  's3-conditional': [
    'Amazon S3: conditional writes',
    'https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html',
    '2026-11-30',
  ],
  'etcd-guarantees': [
    'etcd 3.6: API guarantees',
    'https://github.com/etcd-io/website/blob/HEAD/content/en/docs/v3.6/learning/api_guarantees.md',
    '2026-08-20',
  ],
  'etcd-limits': [
    'etcd 3.6: limits',
    'https://github.com/etcd-io/website/blob/HEAD/content/en/docs/v3.6/dev-guide/limit.md',
    '2026-08-20',
  ],
  'consul-modes': [
    'Consul query options: default, stale, consistent',
    'https://docs.solo.io/gloo-edge/latest/reference/api/github.com/solo-io/gloo/projects/gloo/api/v1/options/consul/query_options.proto.sk/',
    '2026-11-30',
  ],
  'consul-kv': [
    'Consul: the key-value store',
    'https://notes.kodekloud.com/docs/HashiCorp-Certified-Consul-Associate-Certification/Access-the-Consul-KeyValue-KV/Introduction-to-Consul-KV-Store/page',
    '2026-11-30',
  ],
  'zookeeper-guarantees': [
    'ZooKeeper: consistency guarantees',
    'https://github.com/apache/zookeeper/blob/HEAD/zookeeper-website/app/pages/_docs/docs/_mdx/developer/programmers-guide/consistency-guarantees.mdx',
    '2026-07-17',
  ],
  'evcache-features': [
    'EVCache: features',
    'https://github.com/Netflix/EVCache/blob/HEAD/docs/features.md',
    '2026-03-24',
  ],
  'zookeeper-jute': [
    'ZooKeeper: jute.maxbuffer',
    'https://github.com/apache/zookeeper/blob/HEAD/zookeeper-jute/src/main/java/org/apache/jute/BinaryInputArchive.java',
    '2026-07-17',
  ],
  'riak-usage': [
    'Riak KV 2.2.3: usage',
    'https://github.com/basho/basho_docs/blob/HEAD/content/riak/kv/2.2.3/developing/usage.md',
    '2022-12-12',
  ],
  'snowflake-strings': [
    'Snowflake: string and binary data types',
    'https://docs.snowflake.com/user-guide/binary',
    '2026-11-30',
  ],
  'bigquery-transactions': [
    'BigQuery: multi-statement transactions',
    'https://cloud.google.com/bigquery/docs/transactions',
    '2026-11-30',
  ],
} as const;
