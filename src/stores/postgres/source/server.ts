/** What the folders below use of the store as a whole: they import nothing further away. */
export { identifier, literal, type Database, type Session } from '../database.ts';
export { postgresError, sqlState } from '../errors.ts';
