import { encodeValue } from '../../core/codec.ts';
import { keyText } from '../../core/key-text.ts';
import { TallyError } from '../../core/errors.ts';
import type { Key, Row, Scalar, Value } from '../../core/row.ts';
import { refused } from './errors.ts';
import { KEY_BYTES_MAX } from './supports.ts';

/** The text of the row, as a property beside its columns. */
const ROW = '_row';
/** Properties of the coordinator on each node and relationship: they are not taken for columns. */
const RESERVED: readonly string[] = [ROW, '_key', '_fence', '_ordinal'];

const INTEGER_MIN = -(2n ** 63n);
const INTEGER_MAX = 2n ** 63n - 1n;

/** What a property of Neo4j can hold. BigInts are its integers, numbers its floats. */
export type Property = string | number | bigint | boolean | Int8Array | readonly Property[];

/**
 * A row as properties, for queries in Cypher, beside its canonical text, from which it is read back as it was. A null is no
 * property; a list of one type is a list; any other list, and an object, is its JSON text; an integer past 64 bits is text.
 */
export function propertiesOf(row: Row, text: string): Record<string, Property> {
  const properties: Record<string, Property> = {};
  for (const [name, value] of Object.entries(row)) {
    if (name === '' || name.includes('\0') || RESERVED.includes(name)) continue;
    const property = propertyOf(value);
    if (property !== undefined) properties[name] = property;
  }
  properties[ROW] = text;
  return properties;
}

function propertyOf(value: Value): Property | undefined {
  if (value === null) return undefined;
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? BigInt(value) : value;
    case 'bigint':
      return value >= INTEGER_MIN && value <= INTEGER_MAX ? value : String(value);
    default:
      break;
  }
  if (value instanceof Uint8Array) return new Int8Array(value);
  if (Array.isArray(value)) return listOf(value as readonly Value[]);
  return encodeValue(value);
}

function listOf(values: readonly Value[]): Property {
  const items = values.map(propertyOf);
  const [first] = items;
  const isPlain = items.every(
    (item) => item !== undefined && typeof item !== 'object' && typeof item === typeof first,
  );
  return isPlain ? (items as readonly Property[]) : encodeValue([...values]);
}

/** The text of a key, which is what a node is found by. Throws WRITE_REFUSED if no index takes it. */
export function keyProperty(key: Key): string {
  const text = keyText(key);
  if (text.length * 3 <= KEY_BYTES_MAX || Buffer.byteLength(text) <= KEY_BYTES_MAX) return text;
  throw refused(
    `the key has ${Buffer.byteLength(text)} bytes, and an index of Neo4j takes ${KEY_BYTES_MAX}`,
    { bytesMax: KEY_BYTES_MAX },
    'choose a shorter key, such as a digest of this one',
  );
}

/** The key of a relationship's end, from the columns of its row. Throws WRITE_REFUSED if one is missing. */
export function endKey(row: Row, columns: readonly string[], end: 'from' | 'to'): string {
  const key = columns.map((column) => {
    const value = Object.hasOwn(row, column) ? row[column] : undefined;
    if (value === undefined || value === null || (typeof value === 'object' && !isBytes(value)))
      throw refused(
        `the column ${column}, which holds the key of the node that the relationship goes ${end}, has no such value`,
        { column },
      );
    return value as Scalar;
  });
  return keyProperty(key);
}

function isBytes(value: object): boolean {
  return value instanceof Uint8Array;
}

/** The canonical text of a row. Throws ROW_TOO_LARGE. */
export function rowText(row: Row, bytesMax: number): string {
  const text = encodeValue(row);
  // A UTF-16 unit is at most three bytes: most rows are known to fit without being measured.
  if (text.length * 3 <= bytesMax) return text;
  const bytes = Buffer.byteLength(text);
  if (bytes <= bytesMax) return text;
  throw new TallyError('ROW_TOO_LARGE', {
    what: `the row has ${bytes} bytes, the limit is ${bytesMax}`,
    mend: 'store the large part as an object and keep its key in the row, or raise rowBytesMax',
    details: { bytes, bytesMax },
  });
}
