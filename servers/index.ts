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
