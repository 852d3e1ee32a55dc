import type { DatabaseSync } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';

/** What this code reads and writes; a file with a higher number was written by newer code. */
export const SCHEMA_VERSION = 1;

/** 'TaLd': marks the file as a ledger, so that another application's database is never taken for one. */
const APPLICATION_ID = 0x54_61_4c_64;

/**
 * Versions of records come from one counter for the whole ledger, not from the record: a key that
 * was deleted and written anew would else start over, and a caller holding version 1 of the old
 * record would overwrite the new one (ABA). A released lease keeps its row, with no owner, for the
 * same reason: its epoch only grows.
 */
const SCHEMA = `
  CREATE TABLE record (
    space TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (space, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE lease (
    lease TEXT NOT NULL PRIMARY KEY, owner TEXT, epoch INTEGER NOT NULL, expires_at_ms REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO counter (name, value) VALUES ('version', 0);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/**
 * Lays the tables in an empty file, or checks that the file is a ledger this code understands. Runs
 * inside a transaction of the caller, so that of two processes opening a new file one lays them.
 * Throws CONFIG_INVALID for a newer ledger and for a database that is something else.
 */
export function prepareSchema(database: DatabaseSync, where: string): void {
  const version = pragma(database, 'user_version');
  const application = pragma(database, 'application_id');
  if (version === 0 && application === 0 && tables(database) === 0) {
    database.exec(SCHEMA);
    return;
  }
  if (application !== APPLICATION_ID) {
    throw new TallyError('CONFIG_INVALID', {
      what: 'the file is a database of another application, not a ledger',
      where,
      mend: 'give the ledger a file of its own',
    });
  }
  if (version > SCHEMA_VERSION) {
    throw new TallyError('CONFIG_INVALID', {
      what: `the ledger was written by a newer Tallystick: its schema is ${version}, the newest known here is ${SCHEMA_VERSION}`,
      where,
      mend: 'run at least the version that wrote it',
      details: { schema: version, known: SCHEMA_VERSION },
    });
  }
}

function pragma(database: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}

function tables(database: DatabaseSync): number {
  return Number(database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.['count']);
}
