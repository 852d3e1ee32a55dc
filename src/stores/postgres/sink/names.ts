import { createHash } from 'node:crypto';
import { TallyError } from '../../../core/errors.ts';
import { identifier } from '../database.ts';

/** What one generation of a target is called in the database. */
export interface TargetNames {
  readonly target: string;
  readonly generation: number;
  readonly schema: string;
  /** `name` for the generation that readers see, `name__g<n>` for one that is being built. */
  readonly name: string;
  /** The table, qualified and quoted. */
  readonly table: string;
  /** The fences of deleted keys, qualified and quoted: in the coordinator's schema, named by generation for good. */
  readonly tombstones: string;
}

const RESERVED = /^(_tally_|pg_)|__g\d+$/i;
/** PostgreSQL cuts longer names off without an error. */
const NAME_BYTES_MAX = 63;

export function quoted(names: readonly string[]): string {
  return names.map(identifier).join(', ');
}

/** A name as PostgreSQL keeps it whole: a longer one keeps its beginning, and a digest that tells it apart. */
export function boundName(name: string): string {
  if (Buffer.byteLength(name) <= NAME_BYTES_MAX) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 12);
  let head = name.slice(0, NAME_BYTES_MAX - digest.length - 1);
  while (Buffer.byteLength(head) > NAME_BYTES_MAX - digest.length - 1) head = head.slice(0, -1);
  return `${head.toWellFormed()}_${digest}`;
}

/** Where unqualified targets are, and the coordinator's own tables. */
export interface Schemas {
  /** `current_schema()` of the database's user. */
  readonly current: string;
  readonly own: string;
}

/** The names of a target's generation, seen by readers or under construction. */
export function targetNames(
  schemas: Schemas,
  target: string,
  generation: number,
  place: 'seen' | 'building',
): TargetNames {
  const dot = target.indexOf('.');
  const schema = dot < 0 ? schemas.current : target.slice(0, dot);
  const plain = target.slice(dot + 1);
  const name = place === 'seen' ? plain : boundName(`${plain}__g${generation}`);
  return {
    target,
    generation,
    schema,
    name,
    table: `${identifier(schema)}.${identifier(name)}`,
    tombstones: `${schemas.own}.${identifier(boundName(`deleted_${target}__g${generation}`))}`,
  };
}

/** Refuses names that would collide with the coordinator's own. Throws CONFIG_INVALID. */
export function checkName(name: string, what: 'target' | 'column', where: string): void {
  const parts = what === 'target' ? name.split('.') : [name];
  const bad =
    parts.length > 2 ||
    parts.some(
      (part) =>
        part === '' ||
        Buffer.byteLength(part) > NAME_BYTES_MAX ||
        part.includes('\0') ||
        part.includes('"') ||
        !part.isWellFormed(),
    ) ||
    (what === 'target'
      ? RESERVED.test(parts.at(-1) ?? '')
      : ['_fence', '_ordinal'].includes(name.toLowerCase()));
  if (!bad) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `${JSON.stringify(name.slice(0, 80))} cannot be the name of a ${what}`,
    where,
    mend:
      what === 'target'
        ? 'use a name of at most 63 bytes, without quotes, that does not start with _tally_ or pg_ and does not end in __g and a number; a schema may stand before it, with a dot'
        : 'use a name of at most 63 bytes, without quotes, that is not _fence or _ordinal',
    details: { name },
  });
}
