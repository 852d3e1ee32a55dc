import { plainFunction } from './plain-schema.ts';

/** Of the tables and the function below; higher where they change. */
export const LEDGER_SCHEMA_VERSION = 2;

/** Kinds of operations as the function knows them. */
export const operationKinds = {
  put: 1,
  delete: 2,
  guard: 3,
  acquire: 4,
  renew: 5,
  release: 6,
} as const;

/** How the function names why a step was refused: the SQLSTATE that undoes a step, and the member names. */
const REFUSED = 'TLYRF';

/*
 * Versions of records come from one sequence, not from the record: a key that was deleted and written anew would else
 * start over, and a caller holding version 1 of the old record would overwrite the new one (ABA). A released lease
 * keeps its row, with no owner, for the same reason: its epoch only grows.
 *
 * COLLATE "C" is the byte order, whatever the database sorts by. The room left in each page lets updates stay in it.
 */
const tables = (schema: string): string => `
CREATE TABLE IF NOT EXISTS ${schema}.ledger_record (
  space text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, value text NOT NULL, version bigint NOT NULL,
  PRIMARY KEY (space, key)
) WITH (fillfactor = 70);
ALTER TABLE ${schema}.ledger_record ALTER COLUMN value SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS ${schema}.ledger_lease (
  lease text COLLATE "C" PRIMARY KEY, owner text, epoch bigint NOT NULL, expires_at_ms double precision NOT NULL
) WITH (fillfactor = 50);
CREATE SEQUENCE IF NOT EXISTS ${schema}.ledger_version;
`;

const put = (schema: string): string => `IF op.kind = 1 THEN
      IF op.n < 0 THEN
        INSERT INTO ${schema}.ledger_record AS r VALUES (op.a, op.b, op.c, nextval('${schema}.ledger_version'))
          ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, version = excluded.version
          RETURNING r.version INTO result;
      ELSIF op.n = 0 THEN
        INSERT INTO ${schema}.ledger_record AS r VALUES (op.a, op.b, op.c, nextval('${schema}.ledger_version'))
          ON CONFLICT (space, key) DO NOTHING RETURNING r.version INTO result;
      ELSE
        UPDATE ${schema}.ledger_record r SET value = op.c, version = nextval('${schema}.ledger_version')
          WHERE r.space = op.a AND r.key = op.b AND r.version = op.n RETURNING r.version INTO result;
      END IF;
      IF result IS NOT NULL THEN
        RETURN NEXT;
        CONTINUE;
      END IF;`;

const remove = (schema: string): string => `ELSIF op.kind = 2 THEN
      IF op.n < 0 THEN
        DELETE FROM ${schema}.ledger_record r WHERE r.space = op.a AND r.key = op.b;
        CONTINUE;
      ELSIF op.n = 0 THEN
        CONTINUE WHEN NOT EXISTS (
          SELECT FROM ${schema}.ledger_record r WHERE r.space = op.a AND r.key = op.b);
      ELSE
        DELETE FROM ${schema}.ledger_record r WHERE r.space = op.a AND r.key = op.b AND r.version = op.n
          RETURNING 0 INTO result;
        CONTINUE WHEN result IS NOT NULL;
      END IF;`;

const lease = (schema: string): string => `ELSE
      SELECT * INTO l FROM ${schema}.ledger_lease r WHERE r.lease = op.a;
      IF op.kind = 4 THEN
        held := l.owner IS NOT NULL AND l.expires_at_ms > op.now_ms;
        IF NOT held OR l.owner = op.b OR l.owner = op.c THEN
          result := coalesce(l.epoch, 0);
          IF NOT held OR l.owner IS NOT DISTINCT FROM op.c THEN result := result + 1; END IF;
          IF result <= op.n THEN result := op.n + 1; END IF;
          INSERT INTO ${schema}.ledger_lease AS r VALUES (op.a, op.b, result, op.until_ms) ON CONFLICT (lease)
            DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, expires_at_ms = excluded.expires_at_ms;
          RETURN NEXT;
          CONTINUE;
        END IF;
      ELSIF l.owner IS NOT NULL AND l.epoch = op.n THEN
        IF op.kind = 5 THEN
          UPDATE ${schema}.ledger_lease r SET expires_at_ms = op.until_ms WHERE r.lease = op.a;
          result := l.epoch;
          RETURN NEXT;
        ELSIF op.kind = 6 THEN
          UPDATE ${schema}.ledger_lease r SET owner = NULL, expires_at_ms = 0 WHERE r.lease = op.a;
        END IF;
        CONTINUE;
      END IF;`;

/*
 * Applies the operations from `low` to `high`, one after the other. A step that is refused before it has written
 * anything is left out, with a row that says why; one that has (`undone`) is undone by the caller's block.
 */
const apply = (schema: string): string => `
CREATE OR REPLACE FUNCTION ${schema}.ledger_apply_1(
  low int, high int, undone bool, step int[], kind smallint[], a text[], b text[], c text[], n bigint[],
  now_ms double precision[], until_ms double precision[]
) RETURNS TABLE (operation int, result bigint, refusal text) LANGUAGE plpgsql VOLATILE AS $body$
DECLARE
  op record;
  refused int := -1;
  found_version bigint;
  l record;
  held bool;
BEGIN
  FOR op IN
    SELECT u.* FROM unnest(step[low:high], kind[low:high], a[low:high], b[low:high], c[low:high], n[low:high],
      now_ms[low:high], until_ms[low:high]) WITH ORDINALITY AS u(step, kind, a, b, c, n, now_ms, until_ms, at)
  LOOP
    CONTINUE WHEN op.step = refused;
    operation := low + op.at - 1;
    result := NULL;
    refusal := NULL;
    ${put(schema)}
    ${remove(schema)}
    ${lease(schema)}
    END IF;
    -- Refused. What is there instead is for the message.
    refused := op.step;
    IF op.kind <= 2 THEN
      SELECT r.version INTO found_version FROM ${schema}.ledger_record r WHERE r.space = op.a AND r.key = op.b;
      refusal := json_build_object('version', coalesce(found_version, 0))::text;
    ELSE
      refusal := json_build_object('owner', l.owner, 'epoch', l.epoch, 'expiresAtMs', l.expires_at_ms)::text;
    END IF;
    IF undone THEN
      RAISE EXCEPTION USING ERRCODE = '${REFUSED}', MESSAGE = operation::text, DETAIL = refusal;
    END IF;
    RETURN NEXT;
  END LOOP;
END $body$;
`;

/*
 * Commits many steps in one statement. What they touch, records and leases, there or not, is locked first: two calls
 * that want the same wait for each other, and since all lock in one order, none for one that waits for it. The locks
 * are the server's advisory ones by hash: unlike those of rows they exist for what does not, and cost no write. They
 * end with the transaction, when what it did is to be seen; each statement in here sees what was committed before it.
 *
 * There is room for some thousands of them in the whole server. A call that touches much locks everything (`whole`),
 * which all others share.
 *
 * Steps stand in ranges: in one that is `undone` stands a single step that may be refused after it has written, and
 * costs a subtransaction.
 */
const commit = (schema: string, all: string): string => `
CREATE OR REPLACE FUNCTION ${schema}.ledger_commit_1(
  whole bool, low int[], high int[], undone smallint[], step int[], kind smallint[], a text[], b text[], c text[], n bigint[],
  now_ms double precision[], until_ms double precision[]
) RETURNS TABLE (operation int, result bigint, refusal text) LANGUAGE plpgsql VOLATILE AS $body$
DECLARE
  range record;
BEGIN
  IF whole THEN
    PERFORM pg_advisory_xact_lock(${all});
  ELSE
    PERFORM pg_advisory_xact_lock_shared(${all});
    PERFORM pg_advisory_xact_lock(touched.lock) FROM (
      SELECT DISTINCT hashtextextended(CASE WHEN u.kind <= 2 THEN u.a || '/' || u.b ELSE u.a END, ${all}) AS lock
      FROM unnest(kind, a, b) AS u(kind, a, b) ORDER BY 1
    ) AS touched;
  END IF;
  FOR range IN SELECT * FROM unnest(low, high, undone) AS u(low, high, undone) LOOP
    IF range.undone = 0 THEN
      RETURN QUERY SELECT * FROM ${schema}.ledger_apply_1(range.low, range.high, false, step, kind, a, b, c, n,
        now_ms, until_ms);
    ELSE
      BEGIN
        RETURN QUERY SELECT * FROM ${schema}.ledger_apply_1(range.low, range.high, true, step, kind, a, b, c, n,
          now_ms, until_ms);
      EXCEPTION WHEN SQLSTATE '${REFUSED}' THEN
        GET STACKED DIAGNOSTICS refusal = PG_EXCEPTION_DETAIL;
        operation := SQLERRM::int;
        result := NULL;
        RETURN NEXT;
      END;
    END IF;
  END LOOP;
END $body$;
`;

/** What has to be in the schema before a ledger works there. */
export function ledgerSchema(schema: string): string {
  const all = `hashtextextended('tallystick ledger ${schema}', 0)`;
  return tables(schema) + apply(schema) + commit(schema, all) + plainFunction(schema, all);
}
