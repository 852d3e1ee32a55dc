import { TallyError } from './errors.ts';

/** Words longer than this get no suggestion: nobody misspells sixty-five characters of an option. */
const SUGGEST_CHARACTERS_MAX = 64;
/** A list of known names in a message is cut after this many. */
const KNOWN_SHOWN_MAX = 40;

/** The longest duration any option takes: ten years. A longer one is a mistake in the unit. */
export const DURATION_MAX_MS: number = 10 * 365 * 24 * 3_600_000;

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Bounds of a number, both inclusive. */
export interface NumberLimits {
  readonly min?: number;
  readonly max?: number;
  /** Whether fractions are refused. */
  readonly integer?: true;
}

/** Bounds of a text. */
export interface StringLimits {
  /** Fewest characters, 1 if not given: an empty text is nearly always a forgotten variable. */
  readonly charactersMin?: number;
  readonly charactersMax?: number;
  /** What the whole text must match, with the words that say so in the message. */
  readonly pattern?: { readonly matches: RegExp; readonly says: string };
}

/**
 * The name in `known` nearest to `word`: at most a third of its letters wrong (a letter missing,
 * added, changed, or two swapped), letter case not counted. Undefined if none is that near.
 */
export function suggest(word: string, known: readonly string[]): string | undefined {
  if (word.length > SUGGEST_CHARACTERS_MAX) return undefined;
  const wanted = word.toLowerCase();
  const limit = Math.max(1, Math.floor(wanted.length / 3));
  let nearest: string | undefined;
  let nearestDistance = limit + 1;
  for (const name of known) {
    if (Math.abs(name.length - wanted.length) > limit) continue;
    const distance = editDistance(wanted, name.toLowerCase());
    if (distance < nearestDistance) {
      nearest = name;
      nearestDistance = distance;
    }
  }
  return nearest;
}

/**
 * Refuses options with a name that is not in `known`. `path` is where the options stand, such as
 * `stores.orders`; an empty path is the top. Throws CONFIG_UNKNOWN_OPTION, or CONFIG_INVALID if
 * `given` is no object at all.
 */
export function checkOptions(given: object, known: readonly string[], path: string): void {
  checkObject(given, path);
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const at = fieldPath(path, name);
    const nearest = suggest(name, known);
    throw new TallyError('CONFIG_UNKNOWN_OPTION', {
      what: `${shown(name)} is not an option here`,
      where: at,
      mend: `${didYouMean(nearest)}known options are ${listed(known)}`,
      details: { path: at, option: name, known, ...(nearest === undefined ? {} : { nearest }) },
    });
  }
}

/** `path` with the field `name` below it: `stores.orders.url`, `tables["order lines"]`, `tables[0]`. */
export function fieldPath(path: string, name: string | number): string {
  if (typeof name === 'number') return `${path}[${name}]`;
  if (!/^[A-Za-z_$][\w$]{0,63}$/.test(name)) return `${path}[${shown(name)}]`;
  return path === '' ? name : `${path}.${name}`;
}

/** `value` as a plain object of options. Throws CONFIG_INVALID with the path. */
export function checkObject(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(path, value, 'an object of options');
  return value as Readonly<Record<string, unknown>>;
}

/** `value` as a finite number within `limits`. Throws CONFIG_INVALID with the path. */
export function checkNumber(value: unknown, path: string, limits: NumberLimits = {}): number {
  const { min = -Infinity, max = Infinity, integer } = limits;
  if (
    typeof value !== 'number' ||
    !Number.isFinite(value) ||
    (integer === true && !Number.isSafeInteger(value)) ||
    value < min ||
    value > max
  )
    throw invalid(path, value, `a ${integer === true ? 'whole ' : ''}number${range(limits)}`);
  return value;
}

/**
 * `value` as text within `limits`. Throws CONFIG_INVALID with the path. The message never repeats
 * the text: it may be a secret.
 */
export function checkString(value: unknown, path: string, limits: StringLimits = {}): string {
  const { charactersMin = 1, charactersMax = Infinity, pattern } = limits;
  if (typeof value !== 'string') throw invalid(path, value, 'a text');
  const given = `a text of ${value.length} characters`;
  if (value.length < charactersMin)
    throw refused(path, given, `a text of at least ${charactersMin} characters`);
  if (value.length > charactersMax)
    throw refused(path, given, `a text of at most ${charactersMax} characters`);
  if (pattern !== undefined && !pattern.matches.test(value))
    throw refused(path, given, pattern.says);
  return value;
}

/** `value` as one of `known`. Throws CONFIG_INVALID with the path and the nearest known word. */
export function checkOneOf<Known extends string>(
  value: unknown,
  path: string,
  known: readonly Known[],
): Known {
  const found = known.find((word) => word === value);
  if (found !== undefined) return found;
  const nearest = typeof value === 'string' ? suggest(value, known) : undefined;
  throw refused(path, shown(value), `one of ${listed(known)}`, nearest);
}

/**
 * `value` as milliseconds: a number of them, or text such as `'200ms'`, `'10s'`, `'1.5m'`, `'1h'`,
 * `'7d'`. Never negative, at most `max` (ten years if not given). Throws CONFIG_INVALID with the path.
 */
export function checkDuration(
  value: unknown,
  path: string,
  limits: { readonly min?: number; readonly max?: number } = {},
): number {
  const { min = 0, max = DURATION_MAX_MS } = limits;
  const ms = typeof value === 'string' ? parseDuration(value) : value;
  if (typeof ms !== 'number' || !(ms >= min && ms <= max)) {
    const wanted = `a duration from ${min} to ${max} ms: milliseconds as a number, or text such as '200ms', '10s', '5m', '1h'`;
    throw invalid(path, value, wanted);
  }
  return ms;
}

function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text);
  if (match === null) return undefined;
  const [, amount, unit] = match;
  const ms = Number(amount) * (MS_PER_UNIT[String(unit)] ?? Number.NaN);
  // 1.1 s is 1100 ms, not 1100.0000000000002.
  return Math.round(ms * 1_000) / 1_000;
}

/** Optimal string alignment: insert, delete, change, swap neighbours. Three rows are enough. */
function editDistance(left: string, right: string): number {
  let twoUp: number[] = [];
  let oneUp = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1];
      let best = Math.min(
        cell(oneUp, column) + 1,
        cell(current, column - 1) + 1,
        cell(oneUp, column - 1) + (same ? 0 : 1),
      );
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) best = Math.min(best, cell(twoUp, column - 2) + 1);
      current.push(best);
    }
    twoUp = oneUp;
    oneUp = current;
  }
  return cell(oneUp, right.length);
}

function cell(row: readonly number[], column: number): number {
  return row[column] ?? Infinity;
}

function didYouMean(nearest: string | undefined): string {
  return nearest === undefined ? '' : `did you mean ${nearest}? `;
}

function listed(known: readonly string[]): string {
  if (known.length === 0) return 'none';
  if (known.length <= KNOWN_SHOWN_MAX) return known.join(', ');
  const rest = known.length - KNOWN_SHOWN_MAX;
  return `${known.slice(0, KNOWN_SHOWN_MAX).join(', ')} and ${rest} more`;
}

function range({ min, max }: NumberLimits): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? '' : ` of at most ${max}`;
}

function invalid(path: string, value: unknown, wanted: string): TallyError {
  return refused(path, shown(value), wanted);
}

function refused(path: string, given: string, wanted: string, nearest?: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `${given} cannot be used`,
    where: path === '' ? 'options' : path,
    mend: `${didYouMean(nearest)}give ${wanted}`,
    details: { path, wanted, ...(nearest === undefined ? {} : { nearest }) },
  });
}

/** A given value for a message: bounded, and by its kind only where it is not a plain word. */
function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length <= 40 ? value : `${value.slice(0, 40)}…`);
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? 'a list' : 'an object';
    default:
      return `a ${typeof value}`;
  }
}
