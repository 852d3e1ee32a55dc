import type { Queryable } from '../database.ts';

/** A type, as far as the text of its values asks for. */
export interface TypeInfo {
  readonly oid: number;
  /** `typtype`: `b`ase, `c`omposite, `d`omain, `e`num, `m`ultirange, `p`seudo, `r`ange. */
  readonly kind: string;
  /** What a domain is made of, its own base resolved already; `oid` itself for everything else. */
  readonly base: number;
  /** The type of the elements of an array (of a domain over one too); 0 for everything else. */
  readonly element: number;
  /** What stands between the elements of an array of this type's values: `;` for box, else `,`. */
  readonly delimiter: string;
}

/** Types by their oid. What is not in it has values that are their text. */
export type Types = ReadonlyMap<number, TypeInfo>;

/** Describes these types, and those that they are made of. One round trip. */
export async function readTypes(on: Queryable, oids: readonly number[]): Promise<Types> {
  if (oids.length === 0) return new Map();
  const rows = await on.query<{
    oid: number;
    kind: string;
    base: number;
    element: number;
    delimiter: string;
  }>(TYPES, [[...new Set(oids)]]);
  const found = new Map(rows.map((row) => [row.oid, row]));
  const resolve = (oid: number): number => {
    const base = found.get(oid)?.base ?? 0;
    return base === 0 ? oid : resolve(base);
  };
  return new Map(
    rows.map(({ oid, kind, delimiter }) => {
      const base = resolve(oid);
      return [oid, { oid, kind, base, element: found.get(base)?.element ?? 0, delimiter }];
    }),
  );
}

// `typelem` also stands at types that are no arrays (point, name); `typsubscript` tells them apart.
const TYPES = `
WITH RECURSIVE needed(oid) AS (
  SELECT unnest($1::oid[])
  UNION
  SELECT part.oid FROM needed JOIN pg_catalog.pg_type t ON t.oid = needed.oid,
    LATERAL (VALUES (t.typbasetype), (t.typelem)) AS part(oid) WHERE part.oid <> 0
)
SELECT t.oid::int8 AS oid, t.typtype::text AS kind, t.typbasetype::int8 AS base, t.typdelim::text AS delimiter,
  CASE WHEN t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc THEN t.typelem::int8 ELSE 0 END AS element
FROM needed JOIN pg_catalog.pg_type t ON t.oid = needed.oid`;
