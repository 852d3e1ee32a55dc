import type { DatabaseSync } from 'node:sqlite';
import type { Pool, PoolClient } from 'pg';
import type { Orders } from './orders.ts';
import { ordersInPostgres } from './postgres.ts';
import { ordersInSqlite } from './sqlite.ts';

/** The orders behind a native connection: of the store, or of a transaction. */
export function ordersIn(connection: DatabaseSync | Pool | PoolClient): Orders {
  return 'prepare' in connection ? ordersInSqlite(connection) : ordersInPostgres(connection);
}
