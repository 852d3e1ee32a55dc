export { sqlite, type SqliteOptions, type SqliteStore } from './store.ts';
export type { Synchronous } from './connection.ts';
export type { SqliteSource } from './source/source.ts';
export { sourceSupports } from './supports.ts';
export { sqliteLedger, type SqliteLedgerOptions } from './ledger/index.ts';
export type { SqliteEffects, SqliteUndo, SqliteWork } from './effects/effects.ts';
export type { TargetOptions } from './sink/attach.ts';
export {
  documents,
  edges,
  fullText,
  keyValue,
  table,
  type DocumentsTarget,
  type EdgesTarget,
  type FullTextTarget,
  type KeyValueTarget,
  type TableTarget,
  type TargetDeclaration,
  type Targets,
} from './sink/targets.ts';
export { sinkSupports } from './sink/sink.ts';
export type { Neighbour, NeighboursOptions, SearchHit, SqliteQuery } from './query/query.ts';
export { eventSupports } from './events/events.ts';
export type { SqliteEventsOptions, SqliteEventsStore } from './events/store.ts';
export { sqliteCacheSupports } from './cache/supports.ts';
