import { encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import { fenceText } from '../../../core/fence.ts';
import { keyOfText, keyText } from '../../../core/key-text.ts';
import { encodeKey } from '../../../core/codec.ts';
import type { Identity } from '../../../core/position.ts';
import type { Key, Row, Value } from '../../../core/row.ts';
import { tooLarge } from '../errors.ts';
import { OWN_FIELD } from './targets.ts';

/** What the server lets an id be. */
const ID_BYTES_MAX = 512;

/**
 * The id of a row's document: its key as text, so that `GET /products/_doc/sku-1` finds it. The server has no empty id.
 * Throws WRITE_REFUSED for a key that is too long to be one.
 */
export function documentId(key: Key): string {
  const text = keyText(key);
  const id = text === '' ? encodeKey(key) : text;
  if (id.length * 3 > ID_BYTES_MAX && Buffer.byteLength(id) > ID_BYTES_MAX)
    throw new TallyError('WRITE_REFUSED', {
      what: `the key has ${Buffer.byteLength(id)} bytes, and an id has at most ${ID_BYTES_MAX}`,
      mend: 'let the projection make a shorter key, such as a digest of it',
      details: { bytes: Buffer.byteLength(id), bytesMax: ID_BYTES_MAX },
    });
  return id;
}

/** The key behind {@link documentId}. */
export const keyOfId: (id: string) => Key = keyOfText;

/** The document of a row. Throws ROW_TOO_LARGE, VALUE_UNSUPPORTED, WRITE_REFUSED. */
export function rowDocument(id: string, at: Identity, row: Row, bytesMax: number): string {
  if (Object.hasOwn(row, OWN_FIELD))
    throw new TallyError('WRITE_REFUSED', {
      what: `the row has a member ${OWN_FIELD}, which is the coordinator's own`,
      mend: 'let the projection give it another name',
    });
  const text = rowText(row);
  if (text.length * 3 > bytesMax) {
    const bytes = Buffer.byteLength(text);
    if (bytes > bytesMax)
      throw tooLarge(`the row has ${bytes} bytes, the limit is ${bytesMax}`, 'target', {
        bytes,
        bytesMax,
      });
  }
  const own = `{"${OWN_FIELD}":{"key":${JSON.stringify(id)},"fence":"${fenceText(at)}","ordinal":${at.ordinal}}`;
  return text === '{}' ? `${own}}` : `${own},${text.slice(1)}`;
}

/** What a deleted row leaves, so that an older write finds a newer version. */
export function tombstoneDocument(id: string, at: Identity): string {
  return `{"${OWN_FIELD}":{"key":${JSON.stringify(id)},"fence":"${fenceText(at)}","ordinal":${at.ordinal},"deleted":true}}`;
}

/** The row in a document. */
export function rowOf(source: Row): Row {
  const { [OWN_FIELD]: _own, ...row } = source;
  return row;
}

function rowText(row: Row): string {
  if (Object.values(row).every(isPlain)) return JSON.stringify(row);
  // Says with its path what nothing can carry, and ends what contains itself.
  encodeValue(row);
  return valueText(row, '');
}

function isPlain(value: Value): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return (
        (Number.isSafeInteger(value) && !Object.is(value, -0)) ||
        (Number.isFinite(value) && !Number.isInteger(value))
      );
    default:
      return value === null;
  }
}

function valueText(value: Value, path: string): string {
  switch (typeof value) {
    case 'number':
      return numberText(value, path);
    case 'bigint':
      return value.toString();
    case 'object':
      break;
    default:
      return JSON.stringify(value);
  }
  if (value === null) return 'null';
  if (value instanceof Uint8Array) {
    const { buffer, byteOffset, byteLength } = value;
    return `"${Buffer.from(buffer, byteOffset, byteLength).toString('base64')}"`;
  }
  if (Array.isArray(value))
    return `[${value.map((item: Value, at) => valueText(item, `${path}[${at}]`)).join(',')}]`;
  const members = Object.entries(value).map(
    ([name, item]) => `${JSON.stringify(name)}:${valueText(item, `${path}.${name}`)}`,
  );
  return `{${members.join(',')}}`;
}

function numberText(value: number, path: string): string {
  if (!Number.isFinite(value))
    throw new TallyError('VALUE_UNSUPPORTED', {
      what: `${value} is not a number that JSON has`,
      where: path.replace(/^\./, ''),
      mend: 'let the projection write null or a text instead',
      details: { path },
    });
  if (Object.is(value, -0)) return '-0.0';
  // Digits alone past 2^53 are read back as a BigInt.
  return Number.isInteger(value) && !Number.isSafeInteger(value)
    ? value.toExponential()
    : String(value);
}
