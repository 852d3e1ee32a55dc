/** Tests of what systems do. Title, address, and the day of it: published or last changed if it says so, read otherwise. */
export const testDocuments = {
  'jepsen-postgresql-12.3': [
    'Jepsen: PostgreSQL 12.3',
    'https://jepsen.io/analyses/postgresql-12.3',
    '2026-11-30',
  ],
  'postgresql-18.4-g2': [
    'pgsql-bugs: Possible G2-item at SERIALIZABLE (18.4)',
    'https://hackorum.dev/topics/139733',
    '2026-11-30',
  ],
  'jepsen-rds-postgresql-17.4': [
    'Jepsen: Amazon RDS for PostgreSQL 17.4',
    'https://jepsen.io/analyses/amazon-rds-for-postgresql-17.4',
    '2025-04-29',
  ],
  'jepsen-mysql-8.0.34': [
    'Jepsen: MySQL 8.0.34',
    'https://jepsen.io/analyses/mysql-8.0.34',
    '2023-12-19',
  ],
  'jepsen-redis-raft': [
    'Jepsen: Redis-Raft 1b3fbf6',
    'https://jepsen.io/analyses/redis-raft-1b3fbf6',
    '2020-06-23',
  ],
  'jepsen-redis-2013': [
    'Notes on Jepsen: Redis (aphyr, 2013)',
    'https://timothya.com/learning/jepsen-redis',
    '2013-05-18',
  ],
  'jepsen-mongodb-4.2.6': [
    'Jepsen: MongoDB 4.2.6',
    'http://jepsen.io/analyses/mongodb-4.2.6',
    '2020-05-15',
  ],
  'mongodb-jepsen': [
    'MongoDB and Jepsen',
    'https://www.mongodb.com/company/partners/jepsen',
    '2026-11-30',
  ],
  'jepsen-elasticsearch-1.1': [
    'Call me maybe: Elasticsearch (1.1.0)',
    'https://aphyr.com/posts/317-call-me-maybe-elasticsearch',
    '2026-11-30',
  ],
  'jepsen-elasticsearch-1.5': [
    'Jepsen: Elasticsearch, nine months later',
    'https://aphyr.com/tags/Elasticsearch',
    '2026-11-30',
  ],
  'jepsen-cassandra': [
    'Jepsen: Cassandra (copy of the post by aphyr)',
    'https://cassandra.link/post/jepsen-cassandra/',
    '2026-11-30',
  ],
  'jepsen-cockroachdb': [
    'Jepsen: CockroachDB beta-20160829',
    'https://jepsen.io/analyses/cockroachdb-beta-20160829',
    '2017-02-16',
  ],
  'jepsen-dgraph-1.0.2': [
    'Jepsen: Dgraph 1.0.2',
    'https://jepsen.io/analyses/dgraph-1-0-2',
    '2018-08-23',
  ],
  'jepsen-dgraph-1.1.1': [
    'Jepsen: Dgraph 1.1.1',
    'https://jepsen.io/analyses/dgraph-1.1.1',
    '2020-04-30',
  ],
  'jepsen-etcd-3.4.3': [
    'Jepsen: etcd 3.4.3',
    'https://jepsen.io/blog/2020-01-30-etcd-3.4.3',
    '2020-01-29',
  ],
  'jepsen-rethinkdb-2.1.5': [
    'Jepsen: RethinkDB 2.1.5',
    'https://jepsen.io/analyses/rethinkdb-2-1-5',
    '2016-01-04',
  ],
  'jepsen-rethinkdb-2.2.3': [
    'Jepsen: RethinkDB 2.2.3 reconfiguration',
    'https://aphyr.com/posts/330-jepsen-rethinkdb-2-2-3-reconfiguration',
    '2026-11-30',
  ],
  'jepsen-nats-2.12.1': [
    'Jepsen: NATS 2.12.1',
    'https://jepsen.io/analyses/nats-2.12.1',
    '2025-12-08',
  ],
  'jepsen-rabbitmq': [
    'Call me maybe: RabbitMQ',
    'https://aphyr.com/posts/315-call-me-maybe-rabbitmq',
    '2026-11-30',
  ],
  'rabbitmq-35-percent': [
    'Quorum Queues: A Retrospective (RabbitMQ Summit 2022), summary',
    'https://youtubesummaries.com/science-and-technology/wuZC7m6dCDA',
    '2026-11-30',
  ],
  'jepsen-riak': [
    'Call me maybe: Riak',
    'https://aphyr.com/posts/285-call-me-maybe-riak',
    '2026-11-30',
  ],
  'jepsen-zookeeper': [
    'Call me maybe: Zookeeper, with its note of 2019',
    'https://aphyr.com/tags/Zookeeper',
    '2026-11-30',
  ],
  'jepsen-etcd-consul': [
    'Call me maybe: etcd and Consul',
    'https://aphyr.com/posts/316-__call-me-maybe-etcd-and-consul',
    '2014-06-09',
  ],
} as const;
