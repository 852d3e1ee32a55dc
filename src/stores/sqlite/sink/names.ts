import { TallyError } from '../../../core/errors.ts';

/** What one generation of a target is called in the file. */
export interface TargetNames {
  readonly target: string;
  readonly generation: number;
  /** `name` for the generation that readers see, `name__g<n>` for one that is being built. */
  readonly table: string;
  /** The fences of deleted keys, beside the table. */
  readonly tombstones: string;
  /** The full-text index, for the targets that have one. */
  readonly index: string;
  /** What the index reads its texts through. Named by generation: it outlives the rename. */
  readonly content: string;
}

const RESERVED = /^(_tally_|sqlite_)|__g\d+$/i;
const NAME_CHARACTERS_MAX = 200;

/** An identifier, quoted for SQL. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text literal for DDL, where nothing can be bound. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function quoted(names: readonly string[]): string {
  return names.map(quote).join(', ');
}

/** The names of a target's generation, seen by readers or under construction. */
export function targetNames(
  target: string,
  generation: number,
  place: 'seen' | 'building',
): TargetNames {
  const table = place === 'seen' ? target : `${target}__g${generation}`;
  return {
    target,
    generation,
    table,
    tombstones: `_tally_deleted_${table}`,
    index: `${table}_fts`,
    content: `_tally_content_${target}_${generation}`,
  };
}

/** Refuses names that would collide with the coordinator's own. Throws CONFIG_INVALID. */
export function checkName(name: string, what: 'target' | 'column', where: string): void {
  const bad =
    name === '' ||
    name.length > NAME_CHARACTERS_MAX ||
    name.includes('\0') ||
    name.includes('"') ||
    (what === 'target'
      ? RESERVED.test(name)
      : ['_fence', '_ordinal', '_id'].includes(name.toLowerCase()));
  if (!bad) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `${JSON.stringify(name.slice(0, 80))} cannot be the name of a ${what}`,
    where,
    mend:
      what === 'target'
        ? 'use a name without quotes that does not start with _tally_ or sqlite_ and does not end in __g and a number'
        : 'use a name without quotes that is not _fence, _ordinal or _id',
    details: { name },
  });
}
