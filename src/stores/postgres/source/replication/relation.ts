import {
  appendCanonical,
  appendKey,
  codecOf,
  isVariableType,
  type TypeResolver,
  type ValueCodec,
} from '../values.ts';
import { NULL, UNCHANGED, type RelationMessage, type Tuple } from './pgoutput.ts';
import type { CanonicalWriter } from './writer.ts';

/** A table that flows read, as it was prepared. */
export interface PreparedTable {
  readonly oid: number;
  /** Where it stands in the database. */
  readonly schema: string;
  readonly relation: string;
  /** Its name in flows: `orders`, or `sales.orders`. */
  readonly name: string;
  /** The columns of its primary key, in order. */
  readonly key: readonly string[];
  /** The columns that images carry; one that is in neither list is new, and the table is described again. */
  readonly columns: readonly { readonly name: string }[];
  /** Generated columns, which no image carries: the server can send them from PostgreSQL 18 on. */
  readonly generated: readonly string[];
  /** Whether its rows live in partitions, each with a replica identity of its own. */
  readonly partitioned?: boolean;
}

interface Member {
  /** `{"name":` or `,"name":`. */
  readonly prefix: Buffer;
  readonly isAscii: boolean;
  readonly column: number;
  readonly codec: ValueCodec;
}

interface KeyColumn {
  readonly column: number;
  readonly codec: ValueCodec;
}

const EMPTY = Buffer.from('{');

/**
 * Writes the rows of one table, as the server described it last, as canonical text. What does not depend on the
 * row is made here once: the order of the members, their names, how each value is read.
 */
export class RelationEncoder {
  readonly table: PreparedTable;
  readonly relation: RelationMessage;
  /** Columns of the key that the table had not, when it was described. */
  readonly missing: readonly string[];
  readonly #members: readonly Member[];
  readonly #key: readonly KeyColumn[];
  /** The codec tags members that start with `$`: such a row stands in `{"$o":…}` as a whole. */
  readonly #tagged: boolean;

  constructor(relation: RelationMessage, table: PreparedTable, types: TypeResolver) {
    this.table = table;
    this.relation = relation;
    const left = new Set(table.generated);
    const byName = new Map(
      relation.columns.map(({ name, type }, column) => [
        name,
        { column, codec: codecOf(type, types) },
      ]),
    );
    const kept = relation.columns.map(({ name }) => name).filter((name) => !left.has(name));
    // The order in which JavaScript keeps members: names that look like array indexes come first.
    const names = Object.keys(Object.fromEntries(kept.map((name) => [name, 0])));
    this.#tagged = names.some((name) => name.startsWith('$'));
    this.#members = names.flatMap((name, index) => {
      const found = byName.get(name);
      const prefix = Buffer.from(`${index === 0 ? '{' : ','}${JSON.stringify(name)}:`);
      const isAscii = prefix.every((byte) => byte < 0x80);
      return found === undefined ? [] : [{ ...found, prefix, isAscii }];
    });
    this.missing = table.key.filter((name) => !byName.has(name));
    this.#key = table.key.flatMap((name) => byName.get(name) ?? []);
  }

  /**
   * The text of a row; large values that were not sent again are taken from `fill`. Undefined if one is not there
   * either, or if the row has fewer columns than the table: a part of a row is never written.
   */
  image(writer: CanonicalWriter, tuple: Tuple, fill?: Tuple): string | undefined {
    const members = this.#members;
    if (this.#tagged) writer.ascii('{"$o":');
    if (members.length === 0) writer.copy(EMPTY, 0, 1);
    for (let index = 0; index < members.length; index++) {
      const { prefix, isAscii, column, codec } = members[index] as Member;
      if (isAscii) writer.copy(prefix, 0, prefix.length);
      else writer.wide(prefix);
      if (!append(writer, appendCanonical, codec, tuple, column, fill)) {
        writer.clear();
        return undefined;
      }
    }
    writer.byte(0x7d);
    if (this.#tagged) writer.byte(0x7d);
    return writer.take();
  }

  /** The text of a row's key, or undefined as for {@link image}. */
  key(writer: CanonicalWriter, tuple: Tuple, fill?: Tuple): string | undefined {
    const columns = this.#key;
    writer.byte(0x5b);
    for (let index = 0; index < columns.length; index++) {
      const { column, codec } = columns[index] as KeyColumn;
      if (index > 0) writer.byte(0x2c);
      if (!append(writer, appendKey, codec, tuple, column, fill)) {
        writer.clear();
        return undefined;
      }
    }
    writer.byte(0x5d);
    return writer.take();
  }

  /** Whether two rows have the same key, byte for byte; a value that was not sent again is the same. */
  sameKey(before: Tuple, after: Tuple): boolean {
    const columns = this.#key;
    for (let index = 0; index < columns.length; index++) {
      const { column } = columns[index] as KeyColumn;
      if (after.starts[column] !== UNCHANGED && !sameValue(before, after, column)) return false;
    }
    return true;
  }

  /**
   * Whether a row that is said to be whole has only the columns of `identity`. A partition logs what its own
   * replica identity names, but the server labels it with that of the table above, whose columns are then NULL
   * that were not:
   *   1. the table is FULL, a partition that was added later is not  2. a row of it is deleted
   *   3. the row before arrives as whole, with nothing but its key.
   * A row whose other columns really were NULL cannot be told from it, and is read again for nothing.
   */
  isNarrow(before: Tuple, identity: ReadonlySet<string>): boolean {
    const others = this.relation.columns.flatMap(({ name }, column) =>
      identity.has(name) ? [] : [column],
    );
    return others.length > 0 && others.every((column) => before.starts[column] === NULL);
  }
}

/** Whether a relation is what its table was when it was prepared: its key is there, and no column is new. */
export function isAsPrepared(relation: RelationMessage, table: PreparedTable): boolean {
  const known = new Set([...table.columns.map(({ name }) => name), ...table.generated]);
  const names = new Set(relation.columns.map(({ name }) => name));
  return [...names].every((name) => known.has(name)) && table.key.every((name) => names.has(name));
}

/** Types of a relation that only the catalog can explain. */
export function variableTypes(relation: RelationMessage): readonly number[] {
  return relation.columns.map(({ type }) => type).filter(isVariableType);
}

function append(
  writer: CanonicalWriter,
  appendValue: typeof appendCanonical,
  codec: ValueCodec,
  tuple: Tuple,
  column: number,
  fill: Tuple | undefined,
): boolean {
  if (column >= tuple.count) return false;
  const start = tuple.starts[column] as number;
  if (start >= 0) {
    appendValue(writer, codec, tuple.bytes, start, tuple.ends[column] as number);
    return true;
  }
  if (start === NULL) {
    writer.ascii('null');
    return true;
  }
  return fill !== undefined && append(writer, appendValue, codec, fill, column, undefined);
}

function sameValue(left: Tuple, right: Tuple, column: number): boolean {
  const leftStart = left.starts[column] as number;
  const rightStart = right.starts[column] as number;
  if (leftStart < 0 || rightStart < 0) return leftStart === rightStart;
  const length = (left.ends[column] as number) - leftStart;
  if (length !== (right.ends[column] as number) - rightStart) return false;
  for (let index = 0; index < length; index++)
    if (left.bytes[leftStart + index] !== right.bytes[rightStart + index]) return false;
  return true;
}
