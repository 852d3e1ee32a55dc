export {
  cache,
  type Cache,
  type CacheControl,
  type CacheInspection,
  type CacheReadOptions,
  type CacheWritten,
  type WriteOptions,
} from './cache.ts';
export type { Invalidation } from './changer.ts';
export { compressed } from './compressed.ts';
export { plainJson, type Serialiser } from './envelope.ts';
export type { CacheHappening, CacheSource, CacheStats, StaleBecause, Stored } from './events.ts';
export type { CacheFeed, Told, ToldKey } from './feed.ts';
export type { CacheRead } from './flights.ts';
export { keyvStore, type KeyvItem, type KeyvStore, type KeyvStoreOptions } from './keyv.ts';
export {
  loaded,
  type CacheOptions,
  type Duration,
  type Loaded,
  type LoadedOptions,
  type LoadContext,
  type LoadOptions,
  type LoadResult,
  type NearOptions,
  type SharedOptions,
} from './options.ts';
export type { WarmOptions, WarmProgress } from './warm.ts';
