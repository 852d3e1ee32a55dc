import { isDeepStrictEqual } from 'node:util';

/** One place at which two values differ; a side that is undefined has nothing there. */
export interface Difference {
  /** Such as `lines[2].quantity`; empty for the whole. */
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** Differences of two values that are told. */
const DIFFERENCES_MAX = 100;

/**
 * Where two values differ, member by member, in plain objects and lists; anything else is compared as a whole. At most
 * {@link DIFFERENCES_MAX}: what is further apart has to be looked at whole.
 */
export function differences(before: unknown, after: unknown): readonly Difference[] {
  const found: Difference[] = [];
  compare(before, after, '', found);
  return found;
}

function compare(before: unknown, after: unknown, path: string, found: Difference[]): void {
  if (found.length >= DIFFERENCES_MAX || isDeepStrictEqual(before, after)) return;
  if (Array.isArray(before) && Array.isArray(after)) {
    for (let index = 0; index < Math.max(before.length, after.length); index++)
      compare(before[index], after[index], `${path}[${index}]`, found);
  } else if (isPlain(before) && isPlain(after)) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)]))
      compare(before[name], after[name], path === '' ? name : `${path}.${name}`, found);
  } else {
    found.push({ path, before, after });
  }
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
