import { TallyError } from './errors.ts';
import type { Key, Row, Value } from './row.ts';

/** Lists and objects inside one another; also what ends a value that contains itself. */
export const DEPTH_MAX: number = 200;

/**
 * The canonical text of rows and keys: JSON, with what JSON lacks in one-member objects:
 * `{"$i":"9007199254740993"}` for a BigInt, `{"$b":"<base64>"}` for bytes, `{"$n":"nan|inf|-inf|-0"}`
 * for numbers JSON has no word for, and `{"$o":{…}}` around a plain object with a member whose name
 * starts with `$`. Sources write this text, the log keeps it, a flow decodes it once. Throws
 * VALUE_UNSUPPORTED, with the path of the member, for anything else: undefined, a Date, a gap in a
 * list, a function, more than {@link DEPTH_MAX} levels.
 */
export function encodeValue(value: Value): string {
  return JSON.stringify(isPlain(value, 0) ? value : tagged(value, '', 0));
}

/** Reads the text of {@link encodeValue}. Throws VALUE_UNSUPPORTED if it is not such a text. */
export function decodeValue(text: string): Value {
  let parsed: Value;
  try {
    parsed = JSON.parse(text) as Value;
  } catch (cause) {
    throw undecodable('it is not JSON', text, cause);
  }
  // Nearly all rows hold nothing that is tagged; they pay one scan of the text.
  return text.includes('{"$') ? untagged(parsed, 0) : parsed;
}

/** {@link decodeValue} for a row. */
export function decodeRow(text: string): Row {
  const value = decodeValue(text);
  if (!isRow(value)) throw undecodable('it is not an object', text);
  return value;
}

/** {@link encodeValue} for a key; keys of the same values have the same text, to be a map key. */
export function encodeKey(key: Key): string {
  return encodeValue(key);
}

/** {@link decodeValue} for a key. */
export function decodeKey(text: string): Key {
  const value = decodeValue(text);
  if (!Array.isArray(value)) throw undecodable('it is not a list', text);
  return value as Key;
}

function isPlain(value: Value, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0);
    case 'object':
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth === DEPTH_MAX || value instanceof Uint8Array) return false;
  if (Array.isArray(value)) {
    // Not every(): it skips gaps, which JSON.stringify would then write as null.
    for (const item of value as readonly Value[]) if (!isPlain(item, depth + 1)) return false;
    return true;
  }
  if (!isRow(value)) return false;
  for (const name in value) {
    if (name.startsWith('$') || !isPlain(value[name] as Value, depth + 1)) return false;
  }
  return true;
}

function isRow(value: Value): value is Row {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function tagged(value: Value, path: string, depth: number): unknown {
  switch (typeof value) {
    case 'bigint':
      return { $i: value.toString() };
    case 'number': {
      const word = wordOf(value);
      return word === undefined ? value : { $n: word };
    }
    case 'string':
    case 'boolean':
      return value;
    case 'object':
      break;
    default:
      throw unsupported(value, path);
  }
  if (value === null) return null;
  if (value instanceof Uint8Array) return { $b: bytesText(value) };
  if (depth === DEPTH_MAX) throw tooDeep();
  if (Array.isArray(value))
    return Array.from(value as readonly Value[], (item, index) =>
      tagged(item, `${path}[${index}]`, depth + 1),
    );
  if (!isRow(value)) throw unsupported(value, path);
  const copy = mapRow(value, (item, name) => tagged(item, `${path}.${name}`, depth + 1));
  return Object.keys(copy).some((name) => name.startsWith('$')) ? { $o: copy } : copy;
}

function untagged(value: Value, depth: number): Value {
  if (Array.isArray(value)) {
    if (depth === DEPTH_MAX) throw tooDeep();
    return value.map((item: Value) => untagged(item, depth + 1));
  }
  if (!isRow(value)) return value;
  const names = Object.keys(value);
  const tag = names.find((name) => name.startsWith('$'));
  // A tagged scalar is no level of its own.
  if (depth === DEPTH_MAX && (tag === undefined || tag === '$o')) throw tooDeep();
  if (tag === undefined) return mapRow(value, (item) => untagged(item, depth + 1));
  const content = value[tag] as Value;
  if (names.length > 1) throw undecodable(`there is more beside ${tag}`, tag);
  switch (tag) {
    case '$i':
      if (typeof content === 'string' && /^-?[0-9]+$/.test(content)) return BigInt(content);
      break;
    case '$b':
      if (typeof content === 'string') return new Uint8Array(Buffer.from(content, 'base64'));
      break;
    case '$n':
      if (typeof content === 'string' && content in numbers) return numbers[content] as number;
      break;
    case '$o':
      if (isRow(content)) return mapRow(content, (item) => untagged(item, depth + 1));
      break;
  }
  throw undecodable(`what stands in ${tag} has no meaning`, JSON.stringify(value));
}

/** A new object with own members only, `__proto__` one of them like any other. */
function mapRow(row: Row, change: (item: Value, name: string) => unknown): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, item]) => [name, change(item, name)]),
  ) as Row;
}

const numbers: Readonly<Record<string, number>> = Object.assign(
  Object.create(null) as Record<string, number>,
  { nan: Number.NaN, inf: Infinity, '-inf': -Infinity, '-0': -0 },
);

function wordOf(value: number): string | undefined {
  if (Number.isNaN(value)) return 'nan';
  if (Object.is(value, -0)) return '-0';
  if (Number.isFinite(value)) return undefined;
  return value > 0 ? 'inf' : '-inf';
}

function bytesText({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

function undecodable(reason: string, text: string, cause?: unknown): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `a stored value cannot be read: ${reason}`,
    mend: 'look for what wrote or changed it other than Tallystick',
    details: { text: text.slice(0, 80) },
    cause,
  });
}

function tooDeep(): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `a value has more than ${DEPTH_MAX} levels, or contains itself`,
    mend: 'carry the inner part as text or bytes',
    details: { depthMax: DEPTH_MAX },
  });
}

function unsupported(value: unknown, path: string): TallyError {
  const at = path.replace(/^\./, '');
  const kind = kindOf(value);
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `a value of type ${kind} cannot be carried`,
    ...(at === '' ? {} : { where: at }),
    mend: 'turn it into text, a number, bytes, or a plain object first (a Date into its ISO text)',
    details: { kind, path: at },
  });
}

function kindOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return typeof value;
  const { constructor } = value;
  return typeof constructor === 'function' ? constructor.name : 'object';
}
