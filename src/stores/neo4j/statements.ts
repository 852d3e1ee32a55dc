import { nameOf, quote, TOMBSTONE } from './names.ts';
import type { Place } from './targets.ts';

// The version of a key is (_fence, _ordinal) of its node, relationship or tombstone, whichever is newer.
//
// Invariant: a row is always newer than the tombstone of its key. A put is refused by a newer tombstone, and leaves an older
// one where it is; a delete first removes the older row, and leaves its tombstone only if no row is left. If a put did not
// look, a snapshot row read before a delete would bring the deleted row back to life.
//
// A node without _fence is one that relationships needed before its row came, or after it went: it has nothing but its key,
// and goes with the last of them.

/** Parameters: `rows`, a list of {id, key, fence, ordinal}; for puts also properties, and from and to of relationships. */
export interface Statements {
  /** In this order; the last one answers how many were applied. */
  readonly put: readonly string[];
  readonly remove: readonly string[];
}

/** How a write compares with what is there: a repair may overwrite an equal version. */
export type Strictness = 'newer' | 'not-older';

/** The statements that apply writes to one place. */
export function statementsOf(place: Place, strictness: Strictness): Statements {
  const beats = (name: string): string =>
    `(r.fence > ${name}._fence OR (r.fence = ${name}._fence AND r.ordinal ${strictness === 'newer' ? '>' : '>='} ${name}._ordinal))`;
  const living = `UNWIND $rows AS r
OPTIONAL MATCH (t:${TOMBSTONE} {id: r.id})
WITH r, t WHERE t IS NULL OR ${beats('t')}`;
  const set = 'SET n = r.properties, n._key = r.key, n._fence = r.fence, n._ordinal = r.ordinal';
  const bury = (row: string): string => `UNWIND $rows AS r
OPTIONAL MATCH ${row} WHERE n._fence IS NOT NULL
WITH r, n WHERE n IS NULL
MERGE (t:${TOMBSTONE} {id: r.id})
WITH r, t WHERE t._fence IS NULL OR ${beats('t')}
SET t.place = $place, t._key = r.key, t._fence = r.fence, t._ordinal = r.ordinal
RETURN count(t) AS applied`;
  const name = nameOf(place);
  if (place.kind === 'node') {
    return {
      put: [
        `${living}
MERGE (n:${name} {_key: r.key})
WITH r, n WHERE n._fence IS NULL OR ${beats('n')}
${set}
RETURN count(n) AS applied`,
      ],
      remove: [
        `UNWIND $rows AS r
MATCH (n:${name} {_key: r.key}) WHERE n._fence IS NOT NULL AND ${beats('n')}
${FORGET_NODE}`,
        bury(`(n:${name} {_key: r.key})`),
      ],
    };
  }
  const row = `(a)-[n:${name} {_key: r.key}]->(b)`;
  return {
    put: [
      // One that goes elsewhere now is another relationship.
      `UNWIND $rows AS r
MATCH ${row} WHERE ${beats('n')} AND (a._key <> r.from OR b._key <> r.to)
${FORGET_RELATIONSHIP}`,
      `${living}
OPTIONAL MATCH ()-[o:${name} {_key: r.key}]->()
WITH r, o WHERE o IS NULL OR ${beats('o')}
MERGE (a:${quote(place.from.label)} {_key: r.from})
MERGE (b:${quote(place.to.label)} {_key: r.to})
MERGE (a)-[n:${name} {_key: r.key}]->(b)
${set}
RETURN count(n) AS applied`,
    ],
    remove: [
      `UNWIND $rows AS r
MATCH ${row} WHERE ${beats('n')}
${FORGET_RELATIONSHIP}`,
      bury(`()-[n:${name} {_key: r.key}]->()`),
    ],
  };
}

/** Takes the row out of a node, and the node away unless relationships still need it. */
const FORGET_NODE = `SET n = {_key: n._key}
WITH n WHERE NOT EXISTS { (n)--() }
DELETE n`;

/** Takes a relationship away, and nodes that nothing but it needed. */
const FORGET_RELATIONSHIP = `DELETE n
WITH a, b UNWIND [a, b] AS e
WITH DISTINCT e WHERE e._fence IS NULL AND e._key IS NOT NULL AND NOT EXISTS { (e)--() }
DELETE e`;

/** A pattern that binds each row of a place to `n`, and the ends of a relationship to `a` and `b`. */
export function rowsOf(place: Place): string {
  return place.kind === 'node' ? `(n:${nameOf(place)})` : `(a)-[n:${nameOf(place)}]->(b)`;
}

/** Takes `$limit` rows of a place away that a condition names; answers their number. */
export function forget(place: Place, condition: string, bury: boolean): string {
  const buried = bury
    ? `MERGE (t:${TOMBSTONE} {id: $place + n._key})
SET t.place = $place, t._key = n._key, t._fence = $fence, t._ordinal = $ordinal
`
    : '';
  const ends = place.kind === 'node' ? 'n' : 'a, b, n';
  const rest =
    place.kind === 'node'
      ? `SET n = {_key: n._key}
WITH n, n IS NOT NULL AS counted
CALL (n) { WITH n WHERE NOT EXISTS { (n)--() } DELETE n }
RETURN count(counted) AS removed`
      : `DELETE n
WITH a, b, count(*) AS removed
UNWIND [a, b] AS e
WITH e, sum(removed) AS removed
CALL (e) { WITH e WHERE e._fence IS NULL AND e._key IS NOT NULL AND NOT EXISTS { (e)--() } DELETE e }
RETURN toInteger(sum(removed) / 2) AS removed`;
  return `MATCH ${rowsOf(place)} WHERE n._fence IS NOT NULL AND ${condition}
WITH ${ends} LIMIT $limit
${buried}WITH ${ends}
${rest}`;
}
