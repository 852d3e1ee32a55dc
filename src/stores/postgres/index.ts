export {
  postgres,
  type PostgresOptions,
  type PostgresReplicaOptions,
  type PostgresReplicaStore,
  type PostgresStore,
} from './store.ts';
export { cancellable } from './abort.ts';
export type { ConnectionOptions, PoolOptions } from './options.ts';
export type { PostgresSource } from './source/source.ts';
export { ledgerSupports, logSupports, sourceSupports } from './supports.ts';
export { keyValueSupports } from './key-value/index.ts';
export { postgresLedger, type PostgresLedgerOptions } from './ledger/index.ts';
export { postgresLog, type PostgresLogDefinition, type PostgresLogOptions } from './log/index.ts';
export {
  effectsSupports,
  type PostgresEffects,
  type PostgresUndo,
  type PostgresWork,
} from './effects/effects.ts';
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
export type { Neighbour, NeighboursOptions, PostgresQuery, SearchHit } from './query/query.ts';
export {
  inbox,
  outboxMessage,
  outboxMessages,
  type InboxPut,
  type OutboxMessage,
} from './outbox/inbox.ts';
export { outboxSupports, type OutboxSource } from './outbox/source.ts';
export type { PostgresOutboxOptions, PostgresOutboxStore } from './outbox/store.ts';
export {
  createOutbox,
  outboxSql,
  pruneOutbox,
  type OutboxOptions,
  type PruneOptions,
  type StatementRunner,
} from './outbox/table.ts';
export { eventSupports } from './events/events.ts';
export type { PostgresEventsOptions, PostgresEventsStore } from './events/store.ts';
