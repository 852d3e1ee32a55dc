export { ServerUnavailable } from './place.ts';
export {
  type PostgresOptions,
  type PostgresServer,
  type PostgresSettings,
  startPostgres,
} from './postgres.ts';
export type { PostgresVersion } from './postgres-binaries.ts';
export { type RedisOptions, type RedisServer, type RedisSettings, startRedis } from './redis.ts';
export { type Proxy, startProxy } from './proxy.ts';
export { type StandbyOptions, type StandbyServer, startStandby } from './standby.ts';
export { type KafkaOptions, type KafkaServer, type KafkaSettings, startKafka } from './kafka.ts';
export {
  type MemcachedOptions,
  type MemcachedServer,
  type MemcachedSettings,
  startMemcached,
} from './memcached.ts';
export type { RedisFlavour } from './redis-binary.ts';
export { type RedisCluster, startRedisCluster } from './redis-cluster.ts';
export { type CassandraOptions, type CassandraServer, startCassandra } from './cassandra.ts';
export { type DynamoOptions, type DynamoServer, startDynamo } from './dynamodb.ts';
export { type InfluxOptions, type InfluxServer, startInflux } from './influxdb.ts';
export { type MariaOptions, type MariaServer, startMaria } from './mariadb.ts';
export { type NatsOptions, type NatsServer, startNats } from './nats.ts';
export { type NeoOptions, type NeoServer, startNeo } from './neo4j.ts';
export { type OpenSearchOptions, type OpenSearchServer, startOpenSearch } from './opensearch.ts';
