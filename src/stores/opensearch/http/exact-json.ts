/** Sixteen digits or more without a fraction: may be past what a double holds exactly. */
const MAYBE_BIG = /\d{16}/;
const WHOLE = /^-?\d+$/;

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

/** Reads JSON; whole numbers past 2^53 become BigInt, instead of another number that is near. */
export function parseExact(text: string): unknown {
  if (!MAYBE_BIG.test(text)) return JSON.parse(text);
  // The third parameter of a reviver, the number as it was written, is newer than the types.
  return JSON.parse(text, exact as (key: string, value: unknown) => unknown);
}

const exact: Reviver = (_key, value, { source }) =>
  typeof value === 'number' &&
  !Number.isSafeInteger(value) &&
  source !== undefined &&
  WHOLE.test(source)
    ? BigInt(source)
    : value;
