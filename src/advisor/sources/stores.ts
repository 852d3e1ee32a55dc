/** What relational, key-value and document systems say of themselves. Title, address, and the day of it: published or last changed if it says so, read otherwise. */
export const storeDocuments = {
  'postgresql-limits': [
    'Limits (the table of PostgreSQL’s appendix K)',
    'https://postgrespro.com/docs/postgrespro/17/limits',
    '2026-11-30',
  ],
  'postgresql-remote-apply': [
    'PostgreSQL documentation: synchronous replication, remote_apply',
    'https://www.postgrespro.com/media/maillist_attaches/pgsql-hackers/2016/04/8/CAEepm=1791g=nfxy+8h=6wKfSEdqD4eaVEMUcqa7TSC_S9wU3w@mail.gmail.com/doc.patch',
    '2016-04-08',
  ],
  'postgresql-synchronous': [
    'Synchronous replication in PostgreSQL',
    'https://oneuptime.com/blog/post/2026-01-21-postgresql-synchronous-replication/view',
    '2026-01-21',
  ],
  'mysql-group-replication': [
    'MySQL 8.0 manual: consistency guarantees of Group Replication',
    'https://dev.mysql.com/doc/refman/8.0/en/group-replication-configuring-consistency-guarantees.html',
    '2026-11-30',
  ],
  'oracle-data-guard': [
    'Data Guard protection modes',
    'http://www.dbaref.com/home/data-guard---oracle-data-guard/dataguardprotectionmodes',
    '2026-11-30',
  ],
  'db2-hadr': [
    'Db2 11.5: hadr_syncmode',
    'https://www.ibm.com/docs/en/db2/11.5.x?topic=dcp-hadr-syncmode-hadr-synchronization-mode-log-writes-in-peer-state',
    '2026-11-30',
  ],
  'duckdb-concurrency': [
    'DuckDB 1.5: concurrency',
    'https://duckdb.org/docs/current/connect/concurrency.html',
    '2026-11-30',
  ],
  'cockroachdb-consistency': [
    'CockroachDB: strong consistency',
    'https://deploy-preview-17939--cockroachdb-docs.netlify.app/docs/v2.1/strong-consistency',
    '2026-11-30',
  ],
  'spanner-consistency': [
    'Spanner: TrueTime and external consistency',
    'https://cloud.google.com/spanner/docs/true-time-external-consistency',
    '2026-11-30',
  ],
  'redis-persistence': [
    'Redis: persistence',
    'https://github.com/redis/redis-doc/blob/HEAD/docs/management/persistence.md',
    '2025-06-23',
  ],
  'redis-scaling': [
    'Redis: scaling with Redis Cluster',
    'https://github.com/redis/redis-doc/blob/HEAD/docs/management/scaling.md',
    '2025-06-23',
  ],
  'redis-wait': [
    'Redis: WAIT',
    'https://github.com/redis/redis-doc/blob/HEAD/commands/wait.md',
    '2025-06-23',
  ],
  'valkey-docs': [
    'Valkey: persistence',
    'https://github.com/valkey-io/valkey-doc/blob/HEAD/topics/persistence.md',
    '2026-06-18',
  ],
  'memcached-source': [
    'memcached: item_size_max',
    'https://github.com/memcached/memcached/blob/HEAD/memcached.c',
    '2026-07-09',
  ],
  'evcache-readme': [
    'EVCache',
    'https://github.com/Netflix/EVCache/blob/HEAD/README.md',
    '2026-03-24',
  ],
  'dynamodb-reads': [
    'DynamoDB read consistency (copy of the developer guide)',
    'https://grepper.com/answers/659494/Read+consistency',
    '2026-11-30',
  ],
  'dynamodb-mrsc': [
    'DynamoDB: consistency modes of global tables (copy of the developer guide)',
    'https://docs---aws.amazon.com.rproxy.goskope.com/pt_br/amazondynamodb/latest/developerguide/multi-region-strong-consistency-gt.html',
    '2026-11-30',
  ],
  'dynamodb-price': [
    'Amazon DynamoDB pricing explained (US East; a third party)',
    'https://www.linkedin.com/pulse/amazon-dynamodb-pricing-explained-detailed-breakdown-examples-raheja-u9bbc',
    '2026-11-30',
  ],
  'dynamodb-storage-price': [
    'Amazon DynamoDB pricing (stored copy)',
    'https://aws.amazon.com/dynamodb/pricing/',
    '2026-11-30',
  ],
  'foundationdb-limits': [
    'FoundationDB: known limitations',
    'https://apple.github.io/foundationdb/known-limitations.html',
    '2026-11-30',
  ],
  'foundationdb-consistency': [
    'FoundationDB: consistency',
    'https://github.com/apple/foundationdb/blob/HEAD/documentation/sphinx/source/consistency.rst',
    '2026-08-22',
  ],
  'leveldb-writes': [
    'LevelDB: synchronous writes',
    'https://github.com/google/leveldb/blob/HEAD/doc/index.md',
    '2026-03-06',
  ],
  'mongodb-linearizable': [
    'MongoDB: read concern "linearizable"',
    'https://www.mongodb.com/docs/manual/reference/read-concern-linearizable/',
    '2026-11-30',
  ],
  'mongodb-read-concern': [
    'MongoDB 6.0: read concern',
    'https://mongodb.com/docs/v6.0/reference/read-concern',
    '2026-11-30',
  ],
  'couchdb-consistency': [
    'CouchDB: eventual consistency',
    'https://github.com/apache/couchdb/blob/HEAD/src/docs/src/intro/consistency.rst',
    '2026-08-06',
  ],
  'couchdb-config': [
    'CouchDB: max_document_size',
    'https://github.com/apache/couchdb/blob/HEAD/src/docs/src/config/couchdb.rst',
    '2026-08-06',
  ],
  'rethinkdb-performance': [
    'RethinkDB 2.1.5 performance report',
    'https://github.com/rethinkdb/docs/blob/HEAD/8-architecture/2-1-5-performance-report.md',
    '2026-08-20',
  ],
  'foundationdb-anti-features': [
    'FoundationDB: anti-features',
    'https://github.com/apple/foundationdb/blob/HEAD/documentation/sphinx/source/anti-features.rst',
    '2026-08-22',
  ],
  'foundationdb-data-modeling': [
    'FoundationDB: data modeling',
    'https://github.com/apple/foundationdb/blob/HEAD/documentation/sphinx/source/data-modeling.rst',
    '2026-08-22',
  ],
  'foundationdb-architecture': [
    'FoundationDB: architecture',
    'https://github.com/apple/foundationdb/blob/HEAD/documentation/sphinx/source/architecture.rst',
    '2026-08-22',
  ],
  'foundationdb-benchmarking': [
    'FoundationDB: benchmarking',
    'https://github.com/apple/foundationdb/blob/HEAD/documentation/sphinx/source/benchmarking.rst',
    '2026-08-22',
  ],
  'foundationdb-licence': [
    'FoundationDB: licence',
    'https://github.com/apple/foundationdb/blob/HEAD/LICENSE',
    '2026-08-22',
  ],
  'leveldb-readme': [
    'LevelDB: features',
    'https://github.com/google/leveldb/blob/HEAD/README.md',
    '2026-03-06',
  ],
  'memcached-readme': [
    'memcached: readme',
    'https://github.com/memcached/memcached/blob/HEAD/README.md',
    '2026-07-09',
  ],
  'memcached-licence': [
    'memcached: licence',
    'https://github.com/memcached/memcached/blob/HEAD/LICENSE',
    '2026-07-09',
  ],
  'evcache-licence': [
    'EVCache: licence',
    'https://github.com/Netflix/EVCache/blob/HEAD/LICENSE',
    '2026-03-24',
  ],
  'couchdb-licence': [
    'CouchDB: licence',
    'https://github.com/apache/couchdb/blob/HEAD/LICENSE',
    '2026-08-06',
  ],
  'sqlite-limits': [
    'SQLite: SQLITE_MAX_LENGTH',
    'https://chromium.googlesource.com/external/github.com/sqlite/sqlite.git/+/bc2101b44ea60a737a5911aef970db9de6d0dc21/src/sqliteLimit.h',
    '2026-11-30',
  ],
} as const;
