import type { Database } from '../database.ts';

const SCHEMA_VERSION = 1;

/**
 * What an event store keeps.
 *
 * - `events`: the truth. One row for each event, never changed and never removed: triggers refuse it. `position` is
 *   given by the appender, which holds one lock while it inserts and commits, so that positions are dense and become
 *   visible in their order. It is NULL where the event was appended in a transaction of the application, which may go on
 *   for long: then its position is in `event_places`. `ends` marks the last event of what must be seen together.
 * - `event_waiting`: events of transactions of the application that have no position yet. It is written in that
 *   transaction: if it rolls back nothing waits, and no number was taken.
 * - `event_places`: the positions that were given to those, after their commit, under the lock of the appender.
 * - `event_store`: one row: the identity of the history, and how far capture has got.
 *
 * Nothing in it is a transaction id or a place in the WAL that would have to mean the same elsewhere: it can be dumped
 * and restored into another server. (`xact` groups the rows that wait, for as long as they do.)
 */
function tables(schema: string): string {
  return `
CREATE TABLE IF NOT EXISTS ${schema}.events (
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL CHECK (version > 0),
  position bigint,
  ends boolean NOT NULL,
  bytes integer NOT NULL,
  schema_version integer NOT NULL,
  at timestamptz NOT NULL,
  id text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  correlation_id text COLLATE "C",
  causation_id text COLLATE "C",
  tags text[] NOT NULL,
  data json NOT NULL,
  metadata json NOT NULL,
  PRIMARY KEY (stream, version)
);
CREATE UNIQUE INDEX IF NOT EXISTS events_id ON ${schema}.events (id);
CREATE UNIQUE INDEX IF NOT EXISTS events_position ON ${schema}.events (position) WHERE position IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_tags ON ${schema}.events USING gin (tags) WHERE tags <> '{}';
CREATE TABLE IF NOT EXISTS ${schema}.event_places (
  position bigint PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  ends boolean NOT NULL,
  UNIQUE (stream, version)
);
CREATE TABLE IF NOT EXISTS ${schema}.event_waiting (
  ord bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
  stream text COLLATE "C" NOT NULL,
  version bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS ${schema}.event_store (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  history text NOT NULL,
  acknowledged bigint NOT NULL DEFAULT 0,
  worker_epoch bigint NOT NULL DEFAULT 0
);
CREATE OR REPLACE FUNCTION ${schema}.events_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'events are never changed or removed: % of % refused', TG_OP, TG_TABLE_NAME
    USING HINT = 'append what corrects it; for personal data see docs/patterns/event-sourcing.md';
END $$;
${['events', 'event_places']
  .map(
    (table) => `CREATE OR REPLACE TRIGGER ${table}_refuse
BEFORE UPDATE OR DELETE OR TRUNCATE ON ${schema}.${table}
FOR EACH STATEMENT EXECUTE FUNCTION ${schema}.events_refuse();`,
  )
  .join('\n')}`;
}

/** What a stream is locked by, from the append until its transaction ends. */
function streamLock(schema: string, stream: string): string {
  return `hashtextextended('tallystick stream ${schema} ' || ${stream}, 0)`;
}

/** The one lock under which positions are given out. */
function orderLock(schema: string): string {
  return `hashtextextended('tallystick events ${schema}', 0)`;
}

/**
 * Gives positions to what waits, and returns the newest position. Under the lock of the order.
 *
 * Order within a stream: whoever appends to it has its lock until the end of the transaction, so of two transactions
 * the second has all its `ord` there after the first has committed, and sees it. Transactions are ordered by their
 * last `ord`: all of the first's are before the second's in that stream.
 */
function place(schema: string): string {
  return `
CREATE OR REPLACE FUNCTION ${schema}.events_newest_1() RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT greatest(
    coalesce((SELECT max(position) FROM ${schema}.events WHERE position IS NOT NULL), 0),
    coalesce((SELECT max(position) FROM ${schema}.event_places), 0))
$$;
CREATE OR REPLACE FUNCTION ${schema}.events_place_locked_1() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  newest bigint := ${schema}.events_newest_1();
  count bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM ${schema}.event_waiting) THEN RETURN newest; END IF;
  WITH gone AS (DELETE FROM ${schema}.event_waiting RETURNING ord, xact, stream, version),
  whole AS (SELECT *, max(ord) OVER (PARTITION BY xact) AS last FROM gone)
  INSERT INTO ${schema}.event_places
  SELECT newest + row_number() OVER (ORDER BY last, ord), stream, version, ord = last FROM whole;
  GET DIAGNOSTICS count = ROW_COUNT;
  RETURN newest + count;
END $$;
CREATE OR REPLACE FUNCTION ${schema}.events_place_1() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  -- What was committed before this looks either waits still, or has its place already.
  IF EXISTS (SELECT FROM ${schema}.event_waiting) THEN
    PERFORM pg_advisory_xact_lock(${orderLock(schema)});
    RETURN ${schema}.events_place_locked_1();
  END IF;
  RETURN ${schema}.events_newest_1();
END $$;`;
}

/** The columns of events in a call, as parameters of both functions. */
const PARAMETERS = `
  a_streams text[], a_check_stream int4[], a_check_rel int4[], a_check_expected int8[], a_ids text[],
  a_stream text[], a_of int4[], a_rel int4[], a_ends int2[], a_bytes int4[], a_schema_version int4[],
  a_id text[], a_type text[], a_correlation_id text[], a_causation_id text[], a_tags text[],
  a_data text[], a_metadata text[],
  OUT outcome text, OUT newest bigint, OUT versions bigint[], OUT busy int4[]`;

const HEADS = (schema: string): string => `
  SELECT array_agg(coalesce(h.version, 0) ORDER BY t.n), array_agg(coalesce(h.at, '-infinity') ORDER BY t.n)
  INTO versions, times
  FROM unnest(a_streams) WITH ORDINALITY AS t(stream, n) LEFT JOIN LATERAL (
    SELECT e.version, e.at FROM ${schema}.events e WHERE e.stream = t.stream ORDER BY e.version DESC LIMIT 1
  ) AS h ON true;
  IF cardinality(a_ids) > 0 AND EXISTS (SELECT FROM ${schema}.events e WHERE e.id = ANY (a_ids)) THEN
    outcome := 'known'; RETURN;
  END IF;
  IF cardinality(a_check_stream) > 0 AND EXISTS (
    SELECT FROM unnest(a_check_stream, a_check_rel, a_check_expected) AS c(s, r, x)
    WHERE CASE x WHEN -2 THEN versions[s] + r = 0 ELSE versions[s] + r <> x END
  ) THEN
    outcome := 'refused'; RETURN;
  END IF;`;

const INSERT = (schema: string, position: string): string => `
  INSERT INTO ${schema}.events (stream, version, position, ends, bytes, schema_version, at, id, type,
    correlation_id, causation_id, tags, data, metadata)
  SELECT u.stream, versions[u.s] + u.rel, ${position}, u.ends = 1, u.bytes, u.schema_version,
    greatest(clock_timestamp(), times[u.s]), u.id, u.type, u.correlation_id, u.causation_id,
    u.tags::text[], u.data::json, u.metadata::json
  FROM unnest(a_stream, a_of, a_rel, a_ends, a_bytes, a_schema_version, a_id, a_type, a_correlation_id,
    a_causation_id, a_tags, a_data, a_metadata) WITH ORDINALITY
    AS u(stream, s, rel, ends, bytes, schema_version, id, type, correlation_id, causation_id, tags, data, metadata, n);`;

/**
 * Appends of many callers, in one transaction that is this one statement: one round trip, one flush of the WAL.
 *
 * - The lock of the order comes first. Each statement after it sees all that its holders before committed.
 * - Then the locks of the streams, which are only tried: a transaction of the application may have one of them for as
 *   long as it likes, and whoever waited for it here would hold up everybody (\`busy\`).
 * - Then what waits gets its positions: an event of these streams that was committed is before those that come now.
 * - An id may be in a transaction that is still open, in another stream. The index would wait for it, so that wait is
 *   bounded, and the caller then appends those with ids one by one.
 */
function append(schema: string): string {
  return `
CREATE OR REPLACE FUNCTION ${schema}.events_append_1(${PARAMETERS}) LANGUAGE plpgsql AS $$
DECLARE
  times timestamptz[];
BEGIN
  PERFORM pg_advisory_xact_lock(${orderLock(schema)});
  SELECT array_agg(n) INTO busy FROM (
    SELECT t.n, pg_try_advisory_xact_lock(${streamLock(schema, 't.stream')}) AS got
    FROM unnest(a_streams) WITH ORDINALITY AS t(stream, n)) AS tried WHERE NOT got;
  IF busy IS NOT NULL THEN outcome := 'busy'; RETURN; END IF;
  newest := ${schema}.events_place_locked_1();
  ${HEADS(schema)}
  IF cardinality(a_ids) > 0 THEN PERFORM set_config('lock_timeout', '500ms', true); END IF;
  ${INSERT(schema, 'newest + u.n')}
  outcome := 'done';
END $$;`;
}

/**
 * The same within a transaction of the application, without the lock of the order. A stream that somebody else's open
 * transaction appends to is waited for. What meets another's row all the same (a transaction with an old snapshot, or
 * an id in two streams) leaves nothing, and lets the transaction go on (\`collided\`).
 */
function appendIn(schema: string): string {
  return `
CREATE OR REPLACE FUNCTION ${schema}.events_append_in_1(${PARAMETERS}) LANGUAGE plpgsql AS $$
DECLARE
  times timestamptz[];
BEGIN
  PERFORM pg_advisory_xact_lock(key) FROM (
    SELECT ${streamLock(schema, 'stream')} AS key FROM unnest(a_streams) AS stream ORDER BY key) AS keys;
  ${HEADS(schema)}
  BEGIN
    ${INSERT(schema, 'NULL')}
    INSERT INTO ${schema}.event_waiting (stream, version)
    SELECT u.stream, versions[u.s] + u.rel
    FROM unnest(a_stream, a_of, a_rel) WITH ORDINALITY AS u(stream, s, rel, n) ORDER BY u.n;
  EXCEPTION WHEN unique_violation THEN
    outcome := 'collided'; RETURN;
  END;
  outcome := 'done';
END $$;`;
}

/** Makes the tables and functions of the event store, and its row. Idempotent. */
export async function ensureEvents(database: Database): Promise<void> {
  const { schema } = database;
  await database.ensure(
    'events',
    SCHEMA_VERSION,
    [tables, place, append, appendIn].map((part) => part(schema)).join('\n'),
  );
  await database.run(
    `INSERT INTO ${schema}.event_store (history) SELECT $1 WHERE NOT EXISTS (SELECT FROM ${schema}.event_store)
     ON CONFLICT DO NOTHING`,
    [database.random.id()],
  );
}
