export { redis, type RedisStore } from './store.ts';
export type { RedisClusterOptions, RedisOptions, RedisServerOptions } from './options.ts';
export type { RedisClient, RedisCluster } from './driver.ts';
export type { Eviction } from './eviction.ts';
export {
  redisLog,
  redisStream,
  type ClaimStaleOptions,
  type OutgoingMessage,
  type PendingMessages,
  type ReadMessagesOptions,
  type RedisLogDefinition,
  type RedisLogOptions,
  type RedisStream,
  type RedisStreamDefinition,
  type RedisStreamOptions,
  type StreamGroup,
  type StreamMessage,
} from './log/index.ts';
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
export { keyValueSupports } from './key-value/key-value.ts';
export { effectsSupports, type RedisEffects, type RedisWork } from './effects/effects.ts';
export { sinkSupports } from './supports.ts';
