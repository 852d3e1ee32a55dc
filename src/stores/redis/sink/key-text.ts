import { TallyError } from '../../../core/errors.ts';
import type { Key, Scalar } from '../../../core/row.ts';

/**
 * A key as the end of a Redis key: `sku-1`, `1001`, `berlin:7`. Texts and numbers stand as they are, so that an
 * application finds its rows; the parts of a key of several are joined with `:`, and `:` and `%` inside such a
 * part are escaped. The number 1 and the text '1' have one text: they are one row. Throws VALUE_UNSUPPORTED for
 * a text that does not survive UTF-8.
 */
export function keyText(key: Key): string {
  const only = key[0];
  if (key.length === 1 && typeof only === 'string') return wellFormed(only);
  if (key.length === 1) return partText(only as Exclude<Scalar, string>);
  return key
    .map((part) =>
      typeof part === 'string'
        ? wellFormed(part).replaceAll('%', '%25').replaceAll(':', '%3A')
        : partText(part),
    )
    .join(':');
}

/**
 * What {@link keyText} does not tell: one letter for the type of each part; nothing for a single text. It is
 * kept with the fence, and {@link keyOfText} reads the key by it.
 */
export function keyTypes(key: Key): string {
  const only = key[0];
  if (key.length === 1 && typeof only === 'string') return '';
  let types = '';
  for (const part of key) types += typeOf(part);
  return types;
}

/** The key behind {@link keyText} and {@link keyTypes}. */
export function keyOfText(text: string, types: string): Key {
  if (types === '') return [text];
  if (types.length === 1) return [partOf(text, types)];
  return text
    .split(':')
    .map((part, index) =>
      types[index] === 't'
        ? part.replaceAll('%3A', ':').replaceAll('%25', '%')
        : partOf(part, types[index] ?? 't'),
    );
}

function typeOf(part: Scalar): string {
  switch (typeof part) {
    case 'string':
      return 't';
    case 'number':
      return 'n';
    case 'bigint':
      return 'i';
    case 'boolean':
      return 'b';
    default:
      return part === null ? 'z' : 'x';
  }
}

function partText(part: Exclude<Scalar, string>): string {
  if (typeof part === 'number') return Object.is(part, -0) ? '-0' : String(part);
  if (part instanceof Uint8Array)
    return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('hex');
  return String(part);
}

function partOf(text: string, type: string): Scalar {
  switch (type) {
    case 'n':
      return Number(text);
    case 'i':
      return BigInt(text);
    case 'b':
      return text === 'true';
    case 'z':
      return null;
    case 'x':
      return new Uint8Array(Buffer.from(text, 'hex'));
    default:
      return text;
  }
}

function wellFormed(text: string): string {
  if (text.isWellFormed()) return text;
  throw new TallyError('VALUE_UNSUPPORTED', {
    what: 'a key holds half a surrogate pair, which UTF-8 cannot carry',
    mend: 'mend the text in the projection',
  });
}
