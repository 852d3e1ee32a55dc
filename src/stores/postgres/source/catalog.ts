import type { Queryable } from '../database.ts';
import { isVariableType, type TypeInfo } from './values.ts';

/** Describes these types, and those that they are made of. At most one round trip. */
export async function readTypes(
  on: Queryable,
  oids: readonly number[],
): Promise<Map<number, TypeInfo>> {
  const wanted = [...new Set(oids.filter(isVariableType))];
  if (wanted.length === 0) return new Map();
  const rows = await on.query<{
    oid: number;
    kind: TypeInfo['kind'];
    base: number;
    element: number;
    delimiter: string;
  }>(TYPES, [wanted]);
  return new Map(
    rows.map(({ oid, kind, base, element, delimiter }) => [
      oid,
      {
        oid,
        kind,
        ...(kind === 'domain' ? { base } : {}),
        ...(kind === 'array' ? { element, delimiter } : {}),
      },
    ]),
  );
}

// `typelem` also stands at types that are no arrays (point, name); the subscript function tells them apart.
const TYPES = `
WITH RECURSIVE needed(oid) AS (
  SELECT unnest($1::int8[])::oid
  UNION
  SELECT part.oid FROM needed JOIN pg_catalog.pg_type t ON t.oid = needed.oid,
    LATERAL (VALUES (t.typbasetype), (t.typelem)) AS part(oid) WHERE part.oid <> 0
)
SELECT t.oid::int8 AS oid, t.typbasetype::int8 AS base, t.typelem::int8 AS element, t.typdelim::text AS delimiter,
  CASE WHEN t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc THEN 'array'
    ELSE CASE t.typtype WHEN 'd' THEN 'domain' WHEN 'e' THEN 'enum' WHEN 'c' THEN 'composite'
      WHEN 'r' THEN 'range' WHEN 'm' THEN 'range' ELSE 'scalar' END END AS kind
FROM needed JOIN pg_catalog.pg_type t ON t.oid = needed.oid`;
