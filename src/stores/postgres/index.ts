export {
  postgres,
  type PostgresOptions,
  type PostgresReplicaOptions,
  type PostgresReplicaStore,
  type PostgresStore,
} from './store.ts';
export type { ConnectionOptions, PoolOptions } from './options.ts';
export type { PostgresSource } from './source/source.ts';
export { sourceSupports } from './supports.ts';
export { postgresLedger, type PostgresLedgerOptions } from './ledger/index.ts';
