/** The writes that have a condition; `done` gets the numbers of those that took place. */
const conditional = (record: string): string => `
  IF updates > 0 THEN
    WITH written AS (
      UPDATE ${record} r SET value = u.value, version = u.next
      FROM unnest(update_space, update_key, update_value, update_version, v[1:updates], update_at, update_step)
        AS u(space, key, value, version, next, at, step)
      WHERE r.space = u.space AND r.key = u.key AND r.version = u.version AND u.step <> ALL (refused)
      RETURNING u.at
    ) SELECT array_agg(w.at) INTO done FROM written w;
  END IF;
  IF inserts > 0 THEN
    WITH written AS (
      INSERT INTO ${record} AS r
      SELECT u.space, u.key, u.value, u.next
      FROM unnest(insert_space, insert_key, insert_value, v[updates + 1:updates + inserts], insert_step)
        AS u(space, key, value, next, step)
      WHERE u.step <> ALL (refused)
      ON CONFLICT (space, key) DO NOTHING RETURNING r.version
    ) SELECT array_agg(w.version) INTO written_versions FROM written w;
    IF cardinality(written_versions) = inserts THEN
      done := done || insert_at;
    ELSE
      SELECT array_agg(u.at) INTO more FROM unnest(v[updates + 1:updates + inserts], insert_at) AS u(next, at)
      WHERE u.next = ANY (written_versions);
      done := done || more;
    END IF;
  END IF;
  IF cardinality(remove_at) > 0 THEN
    WITH dropped AS (
      DELETE FROM ${record} r
      USING unnest(remove_space, remove_key, remove_version, remove_at, remove_step) AS u(space, key, version, at, step)
      WHERE r.space = u.space AND r.key = u.key AND r.version = u.version AND u.step <> ALL (refused)
      RETURNING u.at
    ) SELECT array_agg(d.at) INTO more FROM dropped d;
    done := done || more;
    SELECT array_agg(u.at) INTO more
    FROM unnest(remove_space, remove_key, remove_version, remove_at) AS u(space, key, version, at)
    WHERE u.version = 0 AND NOT EXISTS (SELECT FROM ${record} r WHERE r.space = u.space AND r.key = u.key);
    done := done || more;
  END IF;
`;

/** The other writes of the steps that were not refused. */
const unconditional = (record: string): string => `
  IF puts > 0 THEN
    INSERT INTO ${record} AS r
    SELECT u.space, u.key, u.value, u.next
    FROM unnest(put_space, put_key, put_value, v[updates + inserts + 1:], put_step) AS u(space, key, value, next, step)
    WHERE u.step <> ALL (refused)
    ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, version = excluded.version;
  END IF;
  IF cardinality(drop_step) > 0 THEN
    DELETE FROM ${record} r
    USING unnest(drop_space, drop_key, drop_step) AS u(space, key, step)
    WHERE r.space = u.space AND r.key = u.key AND u.step <> ALL (refused);
  END IF;
`;

/*
 * Commits many steps at once, by sets instead of one operation after the other. What it is given is `plain`: no
 * record is touched by two operations, leases are only looked at, and at most one write of a step has a condition. So
 * the order does not matter, and what has no condition can be written once it is known which steps were refused:
 * nothing has to be undone.
 *
 * `at` is an operation's number through all steps, `step` that of its step. Locks as in ledger_commit_1.
 */
export function plainFunction(schema: string, all: string): string {
  const record = `${schema}.ledger_record`;
  const next = `nextval('${schema}.ledger_version')`;
  return `
CREATE OR REPLACE FUNCTION ${schema}.ledger_plain_1(
  whole bool, touched text[],
  guard_lease text[], guard_epoch bigint[], guard_at int[], guard_step int[],
  update_space text[], update_key text[], update_value text[], update_version bigint[], update_at int[], update_step int[],
  insert_space text[], insert_key text[], insert_value text[], insert_at int[], insert_step int[],
  remove_space text[], remove_key text[], remove_version bigint[], remove_at int[], remove_step int[],
  put_space text[], put_key text[], put_value text[], put_at int[], put_step int[],
  drop_space text[], drop_key text[], drop_step int[]
) RETURNS TABLE (versions text, refusals text) LANGUAGE plpgsql VOLATILE AS $body$
DECLARE
  updates int := cardinality(update_at);
  inserts int := cardinality(insert_at);
  puts int := cardinality(put_at);
  v bigint[];
  refused int[] := '{}';
  done int[];
  more int[];
  written_versions bigint[];
  gone record;
  all_refusals json[] := '{}';
BEGIN
  -- Given out beforehand, so that it is known which write got which without looking for it again.
  SELECT array_agg(${next}) INTO v FROM generate_series(1, updates + inserts + puts);
  IF whole THEN
    PERFORM pg_advisory_xact_lock(${all});
  ELSE
    PERFORM pg_advisory_xact_lock_shared(${all});
    PERFORM pg_advisory_xact_lock(lock) FROM (
      SELECT DISTINCT hashtextextended(u, ${all}) AS lock FROM unnest(touched) AS u ORDER BY 1
    ) AS locks;
  END IF;
  IF cardinality(guard_at) > 0 THEN
    FOR gone IN
      SELECT u.at, u.step, l.owner, l.epoch, l.expires_at_ms
      FROM unnest(guard_lease, guard_epoch, guard_at, guard_step) AS u(lease, epoch, at, step)
      LEFT JOIN ${schema}.ledger_lease l ON l.lease = u.lease
      WHERE l.owner IS NULL OR l.epoch <> u.epoch
    LOOP
      refused := refused || gone.step;
      all_refusals := all_refusals || json_build_object('at', gone.at, 'owner', gone.owner, 'epoch', gone.epoch,
        'expiresAtMs', gone.expires_at_ms);
    END LOOP;
  END IF;
  ${conditional(record)}
  IF coalesce(cardinality(done), 0) < updates + inserts + cardinality(remove_at) THEN
    FOR gone IN
      SELECT u.at, u.step, r.version
      FROM unnest(update_space || insert_space || remove_space, update_key || insert_key || remove_key,
        update_at || insert_at || remove_at, update_step || insert_step || remove_step) AS u(space, key, at, step)
      LEFT JOIN ${record} r ON r.space = u.space AND r.key = u.key
      WHERE u.at <> ALL (coalesce(done, '{}')) AND u.step <> ALL (refused)
    LOOP
      refused := refused || gone.step;
      all_refusals := all_refusals || json_build_object('at', gone.at, 'version', coalesce(gone.version, 0));
    END LOOP;
  END IF;
  ${unconditional(record)}
  versions := array_to_string(v, ',');
  IF cardinality(all_refusals) > 0 THEN refusals := array_to_json(all_refusals); END IF;
  RETURN NEXT;
END $body$;
`;
}
