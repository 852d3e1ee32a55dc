import type { Place } from './targets.ts';

// The coordinator's own nodes. Their ids begin with the store's prefix, so that applications can share a database.

export const FLOW = '_TallyFlow';
export const TOMBSTONE = '_TallyTombstone';
export const STATE = '_TallyState';

/** A label, type or property as Cypher takes it, whatever it contains. */
export function quote(name: string): string {
  // A backslash-u in a name would be read as a character.
  return `\`${name.replaceAll('\\', '\\u005C').replaceAll('`', '``')}\``;
}

/** The label of a node's place, or the type of a relationship's. */
export function nameOf(place: Place): string {
  return quote(place.kind === 'node' ? place.label : place.type);
}

/** What finds rows by key: made before the first of them is written. */
export function constraints(places: readonly Place[]): readonly string[] {
  const own = [
    unique(`(n:${FLOW})`, 'id'),
    unique(`(n:${TOMBSTONE})`, 'id'),
    unique(`(n:${STATE})`, 'id'),
  ];
  const keyed = places.flatMap((place) =>
    place.kind === 'node'
      ? [unique(`(n:${quote(place.label)})`, '_key')]
      : [
          unique(`()-[n:${quote(place.type)}]-()`, '_key'),
          unique(`(n:${quote(place.from.label)})`, '_key'),
          unique(`(n:${quote(place.to.label)})`, '_key'),
        ],
  );
  return [...own, ...new Set(keyed)];
}

function unique(pattern: string, property: string): string {
  return `CREATE CONSTRAINT IF NOT EXISTS FOR ${pattern} REQUIRE n.${property} IS UNIQUE`;
}
