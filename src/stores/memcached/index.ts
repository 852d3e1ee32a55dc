export { memcached, type MemcachedStore } from './store.ts';
export type { MemcachedOptions } from './options.ts';
export type { MemcachedClient } from './client.ts';
export type { MetaReply, MetaStatus } from './wire/reply.ts';
export type { MetaRequest } from './wire/request.ts';
export { keyValueSupports } from './supports.ts';
export { cacheSupports } from './cache/supports.ts';
