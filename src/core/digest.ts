import { createHash } from 'node:crypto';
import { encodeValue } from './codec.ts';
import type { Row, Value } from './row.ts';

/** Hexadecimal digits of a digest: 128 bits of SHA-256, which nobody meets twice by accident. */
const DIGITS = 32;

/** A digest of a text, as hexadecimal digits. */
export function digestOfText(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, DIGITS);
}

/**
 * A digest of a value: the same for values that say the same, whatever the order of their members. Throws
 * VALUE_UNSUPPORTED for what has no canonical text.
 */
export function digestOf(value: Value): string {
  return digestOfText(encodeValue(sorted(value)));
}

function sorted(value: Value): Value {
  if (Array.isArray(value)) return value.map((item: Value) => sorted(item));
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Left as it is, for the encoding to refuse: the members of a Date do not say which it is.
  if (prototype !== Object.prototype && prototype !== null) return value;
  const entries = Object.entries(value as Row).toSorted(([left], [right]) =>
    left < right ? -1 : 1,
  );
  return Object.fromEntries(entries.map(([name, item]) => [name, sorted(item)]));
}
