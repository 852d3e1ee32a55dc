import type { Random } from '../../../ports/clock.ts';
import type { Connection } from '../connection.ts';

/**
 * What an event store keeps in its file. SQLite has one writer at a time: a position that is the greatest so far plus
 * one is given out inside the transaction that writes it, and what rolls back takes its positions with it. So the order
 * of `position` is the order of commits, without gaps.
 *
 * Triggers refuse every change. REPLACE removes rows without asking triggers for DELETE; so what is there already is
 * refused before it.
 */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS _tally_events (
  position INTEGER PRIMARY KEY,
  stream TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version > 0),
  ends INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  correlation_id TEXT,
  causation_id TEXT,
  tags TEXT,
  data TEXT NOT NULL,
  metadata TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS _tally_events_stream ON _tally_events (stream, version);
CREATE UNIQUE INDEX IF NOT EXISTS _tally_events_id ON _tally_events (id);
CREATE TABLE IF NOT EXISTS _tally_event_store (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS _tally_events_update BEFORE UPDATE ON _tally_events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS _tally_events_delete BEFORE DELETE ON _tally_events
BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
CREATE TRIGGER IF NOT EXISTS _tally_events_insert BEFORE INSERT ON _tally_events
WHEN EXISTS (SELECT 1 FROM _tally_events WHERE position >= NEW.position)
  OR EXISTS (SELECT 1 FROM _tally_events WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM _tally_events WHERE stream = NEW.stream AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'events are never replaced'); END;
`;

/** Whether the file holds an event store. */
export function hasEvents(connection: Connection): boolean {
  const found = connection.guard(() =>
    connection
      .prepare(
        "SELECT 1 AS found FROM sqlite_schema WHERE type = 'trigger' AND name = '_tally_events_insert'",
      )
      .get(),
  );
  return found !== undefined;
}

/** Makes the tables of the event store, and the identity of its history. Idempotent. */
export function ensureEvents(connection: Connection, random: Random): void {
  if (hasEvents(connection)) return;
  connection.transaction(() => {
    connection.database.exec(SCHEMA);
    for (const [name, value] of [
      ['history', random.id()],
      ['worker_epoch', 0],
      ['acknowledged', 0],
    ] as const)
      connection
        .prepare(
          'INSERT INTO _tally_event_store (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING',
        )
        .run(name, value);
  });
}

type SettingName = 'history' | 'worker_epoch' | 'acknowledged';

/** What is noted under a name. */
export function readSetting(connection: Connection, name: SettingName): string | number {
  const row = connection.guard(() =>
    connection.prepare('SELECT value FROM _tally_event_store WHERE name = ?').get(name),
  );
  const value = row?.['value'];
  return typeof value === 'string' ? value : Number(value ?? 0);
}

/** Notes a number. Inside the caller's transaction. */
export function writeSetting(connection: Connection, name: SettingName, value: number): void {
  connection.prepare('UPDATE _tally_event_store SET value = ? WHERE name = ?').run(value, name);
}

/** The newest position, 0 if there is no event. */
export function newestPosition(connection: Connection): number {
  const row = connection
    .prepareArrays('SELECT position FROM _tally_events ORDER BY position DESC LIMIT 1')
    .get();
  return row === undefined ? 0 : Number((row as unknown as readonly number[])[0]);
}
