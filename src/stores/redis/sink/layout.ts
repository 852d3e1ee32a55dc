import { decodeRow, decodeValue, encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import type { Row, Value } from '../../../core/row.ts';
import type { HashField, TargetDeclaration } from './targets.ts';

/** A row as the arguments of a command. */
export interface EncodedRow {
  /** Of a hash, names and values by turns; else the text, and of an indexed row its score. */
  readonly values: readonly string[];
  /** Of an indexed row, the group whose sorted set it stands in; undefined for that of the whole target. */
  readonly group?: string;
}

/** Redis takes no more arguments in one command from a script. */
const HASH_FIELDS_MAX = 3_000;

/** Encodes a row for its target. Throws ROW_TOO_LARGE, VALUE_UNSUPPORTED, WRITE_REFUSED. */
export function encodeRow(declaration: TargetDeclaration, row: Row, bytesMax: number): EncodedRow {
  if (declaration.kind === 'hash') return { values: hashValues(row, declaration.fields, bytesMax) };
  const text = encodeValue(row);
  checkBytes(text, text.length, bytesMax);
  if (declaration.kind === 'json') return { values: [text] };
  const score = scoreOf(row[declaration.score], declaration.score);
  if (declaration.group === undefined || score === '') return { values: [text, score] };
  return { values: [text, score], group: groupOf(row[declaration.group], declaration.group) };
}

/** Reads what {@link encodeRow} made of a hash. Throws VALUE_UNSUPPORTED. */
export function decodeHash(
  held: ReadonlyMap<string, string>,
  fields: Readonly<Record<string, HashField>>,
): Row {
  const row: [string, Value][] = Object.keys(fields)
    .filter((name) => !held.has(name))
    .map((name) => [name, null]);
  for (const [name, text] of held) row.push([name, decodeField(text, typeOf(fields, name))]);
  return Object.fromEntries(row);
}

/** Reads the text of a JSON row. Throws VALUE_UNSUPPORTED. */
export const decodeText: (text: string) => Row = decodeRow;

function hashValues(
  row: Row,
  fields: Readonly<Record<string, HashField>>,
  bytesMax: number,
): readonly string[] {
  const values: string[] = [];
  let length = 0;
  for (const name of Object.keys(row)) {
    const value = row[name] as Value;
    const type = typeOf(fields, name);
    if (type !== undefined && value === null) continue;
    if (!name.isWellFormed()) throw refused(`the field ${JSON.stringify(name)} is not UTF-8`);
    const text = fieldText(value, type, name);
    values.push(name, text);
    length += name.length + text.length;
  }
  if (values.length === 0) throw refused('a row without any field cannot be a hash');
  if (values.length > 2 * HASH_FIELDS_MAX)
    throw refused(`a hash of ${values.length / 2} fields is over the limit of ${HASH_FIELDS_MAX}`);
  if (length * 3 > bytesMax) checkBytes(values.join(''), length, bytesMax);
  return values;
}

function fieldText(value: Value, type: HashField | undefined, name: string): string {
  switch (type) {
    case 'text':
      if (typeof value !== 'string') throw otherwise(value, name, 'text');
      if (!value.isWellFormed()) throw refused(`the field ${name} is not UTF-8`);
      return value;
    case 'number':
      if (typeof value !== 'number' && typeof value !== 'bigint')
        throw otherwise(value, name, 'a number');
      if (typeof value === 'bigint') return value.toString();
      // Digits alone past 2^53 are read back as a BigInt.
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) return value.toExponential();
      return encodeValue(value);
    case 'json':
      return encodeValue(value);
    default:
      return typeof value === 'string' && !readsAsJson(value) && value.isWellFormed()
        ? value
        : encodeValue(value);
  }
}

function decodeField(text: string, type: HashField | undefined): Value {
  switch (type) {
    case 'text':
      return text;
    case 'number':
      return /^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text))
        ? BigInt(text)
        : decodeValue(text);
    case 'json':
      return decodeValue(text);
    default:
      return readsAsJson(text) ? decodeValue(text) : text;
  }
}

/** Whether a text, written as it is, would be taken for JSON: by its first character, so a little too often. */
function readsAsJson(text: string): boolean {
  return /^(["{[]|-?\d|null$|true$|false$)/.test(text);
}

function typeOf(fields: Readonly<Record<string, HashField>>, name: string): HashField | undefined {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

function scoreOf(value: Value | undefined, name: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'bigint') {
    if (BigInt(Number(value)) === value) return value.toString();
    throw refused(`the score ${name} is past what a sorted set keeps exactly`);
  }
  if (typeof value !== 'number' || Number.isNaN(value))
    throw refused(`the score ${name} is not a number`);
  return Number.isFinite(value) ? String(value) : value > 0 ? 'inf' : '-inf';
}

function groupOf(value: Value | undefined, name: string): string {
  if (typeof value === 'string' && value.isWellFormed()) return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  throw refused(`the group ${name} is neither text nor a number`);
}

function checkBytes(text: string, length: number, bytesMax: number): void {
  // A UTF-16 unit is at most three bytes: most rows are known to fit without being measured.
  if (length * 3 <= bytesMax) return;
  const bytes = Buffer.byteLength(text);
  if (bytes <= bytesMax) return;
  throw new TallyError('ROW_TOO_LARGE', {
    what: `the row has ${bytes} bytes, the limit is ${bytesMax}`,
    mend: 'store the large part as an object and keep its key in the row, or raise rowBytesMax',
    details: { bytes, bytesMax },
  });
}

function refused(what: string): TallyError {
  return new TallyError('WRITE_REFUSED', {
    what,
    mend: 'change the projection, or the declaration of the target',
  });
}

/** A value that nothing can carry is said to be that, whatever the field wants. */
function otherwise(value: Value, name: string, wanted: string): TallyError {
  encodeValue(value);
  return refused(`the field ${name} is ${typeof value}, not ${wanted}`);
}
