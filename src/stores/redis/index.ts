export { redis, type RedisStore } from './store.ts';
export type { RedisClusterOptions, RedisOptions, RedisServerOptions } from './options.ts';
export type { RedisClient, RedisCluster } from './driver.ts';
