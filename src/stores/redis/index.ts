export { redis, type RedisStore } from './store.ts';
export type { RedisClusterOptions, RedisOptions, RedisServerOptions } from './options.ts';
export type { RedisClient, RedisCluster } from './driver.ts';
export type { Eviction } from './eviction.ts';
export { redisLog, type RedisLogDefinition, type RedisLogOptions } from './log/index.ts';
export {
  hash,
  json,
  sortedSet,
  type HashField,
  type HashTarget,
  type JsonTarget,
  type SortedSetTarget,
  type TargetDeclaration,
  type Targets,
} from './sink/targets.ts';
export { sinkSupports } from './supports.ts';
