export { sqlite, type SqliteOptions, type SqliteStore } from './store.ts';
export type { Synchronous } from './connection.ts';
export type { SqliteSource } from './source/source.ts';
export { sourceSupports } from './supports.ts';
export { sqliteLedger, type SqliteLedgerOptions } from './ledger/index.ts';
