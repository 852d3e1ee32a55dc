import { unreachable } from '../core/errors.ts';
import { DURATION_MAX_MS, fieldPath, suggest } from '../core/options.ts';
import { PROBLEMS_MAX, type Entry, type Located, type Place, type Problem } from './document.ts';
import type { ObjectShape, Shape } from './shape.ts';

/** What was read by a shape: every object carries its `path`, and {@link Reading.places} says where that is. */
export interface Reading {
  readonly value: unknown;
  readonly places: ReadonlyMap<string, Place>;
  readonly problems: readonly Problem[];
}

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const SIZE_UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];

/**
 * Reads a document by a shape. All that is wrong is collected with its place, misspelt names with the one that was
 * probably meant; what is wrong is left out of the value.
 */
export function readShape(root: Located, shape: Shape): Reading {
  const reader = new Reader();
  const value = reader.read(root, shape, '');
  return { value, places: reader.places, problems: reader.problems };
}

class Reader {
  readonly places = new Map<string, Place>();
  readonly problems: Problem[] = [];

  read(node: Located, shape: Shape, path: string): unknown {
    this.places.set(path, node.at);
    switch (shape.kind) {
      case 'object':
        return this.#object(node, shape, path);
      case 'list':
        return this.#list(node, shape, path);
      case 'map':
        return this.#map(node, shape, path);
      default:
        return this.#scalar(node, shape, path);
    }
  }

  #object(node: Located, shape: ObjectShape, path: string): unknown {
    if (node.kind === 'scalar' && shape.short !== undefined) {
      const field = shape.fields[shape.short];
      const value = field === undefined ? undefined : this.read(node, field, path);
      return value === undefined ? undefined : { path, [shape.short]: value };
    }
    if (node.kind !== 'map')
      return this.#refuse(
        path,
        node.at,
        `${shown(node)} stands where fields are expected`,
        `write ${Object.keys(shape.fields).slice(0, 4).join(', ')} … as a map`,
      );
    const known = Object.keys(shape.fields);
    const read: Record<string, unknown> = { path };
    for (const entry of this.#unique(node.entries, path)) {
      const field = Object.hasOwn(shape.fields, entry.key) ? shape.fields[entry.key] : undefined;
      if (field === undefined) {
        const near = suggest(entry.key, known);
        this.#refuse(
          fieldPath(path, entry.key),
          entry.at,
          `${JSON.stringify(entry.key)} is not a field here`,
          `${near === undefined ? '' : `did you mean ${near}? `}known fields are ${known.join(', ')}`,
        );
        continue;
      }
      const value = this.read(entry.value, field, fieldPath(path, entry.key));
      if (value !== undefined) read[entry.key] = value;
    }
    const missing = (shape.required ?? []).filter(
      (name) => !node.entries.some(({ key }) => key === name),
    );
    for (const name of missing)
      this.#refuse(path, node.at, `the field ${name} is missing`, `add ${name}`);
    return missing.length > 0 || (shape.required ?? []).some((name) => !(name in read))
      ? undefined
      : read;
  }

  #list(node: Located, shape: Extract<Shape, { kind: 'list' }>, path: string): unknown {
    // One thing where several may stand is a list of one.
    const items = node.kind === 'list' ? node.items : [node];
    if (node.kind === 'scalar' && node.value === null) return [];
    if (items.length > shape.max)
      return this.#refuse(
        path,
        node.at,
        `${items.length} entries are too many`,
        `give at most ${shape.max}`,
      );
    return items
      .map((item, index) => this.read(item, shape.of, fieldPath(path, index)))
      .filter((value) => value !== undefined);
  }

  #map(node: Located, shape: Extract<Shape, { kind: 'map' }>, path: string): unknown {
    if (node.kind === 'scalar' && node.value === null) return {};
    if (node.kind !== 'map')
      return this.#refuse(path, node.at, `${shown(node)} is no map of names`, 'write name: value');
    if (node.entries.length > shape.max)
      return this.#refuse(
        path,
        node.at,
        `${node.entries.length} entries are too many`,
        `give at most ${shape.max}`,
      );
    const read: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const { key, value } of this.#unique(node.entries, path)) {
      const entry = this.read(value, shape.of, fieldPath(path, key));
      if (entry !== undefined) read[key] = entry;
    }
    return read;
  }

  /** The entries, each key once: YAML would let the last one win without a word. */
  #unique(entries: readonly Entry[], path: string): readonly Entry[] {
    const seen = new Set<string>();
    return entries.filter(({ key, at }) => {
      if (seen.has(key)) {
        this.#refuse(
          fieldPath(path, key),
          at,
          `${JSON.stringify(key)} stands here a second time`,
          'keep one of the two',
        );
        return false;
      }
      seen.add(key);
      return true;
    });
  }

  #scalar(
    node: Located,
    shape: Exclude<Shape, { kind: 'list' | 'map' | 'object' }>,
    path: string,
  ): unknown {
    const value = node.kind === 'scalar' ? scalarOf(node.value, shape) : undefined;
    if (value !== undefined) return value;
    const word = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined;
    const near =
      shape.kind === 'word' && word !== undefined ? suggest(word, shape.words) : undefined;
    return this.#refuse(
      path,
      node.at,
      `${shown(node)} cannot be used`,
      `${near === undefined ? '' : `did you mean ${near}? `}give ${wanted(shape)}`,
    );
  }

  #refuse(path: string, at: Place, what: string, mend: string): undefined {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push({ path, at, what, mend });
    return undefined;
  }
}

type ScalarShape = Exclude<Shape, { kind: 'list' | 'map' | 'object' }>;

function scalarOf(value: string | number | boolean | null, shape: ScalarShape): unknown {
  switch (shape.kind) {
    case 'text':
      // A number is a fine name; an empty text is nearly always a forgotten value.
      return value === null || value === '' ? undefined : String(value);
    case 'word':
      return shape.words.find((word) => word === value);
    case 'flag':
      return typeof value === 'boolean' ? value : undefined;
    case 'number':
      return numberIn(value, shape.min, shape.max, shape.integer === true);
    case 'duration':
      return durationOf(value);
    case 'size':
      return sizeOf(value);
    case 'share':
      return shareOf(value);
    case 'day':
      return typeof value === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(value) && isDay(value)
        ? value
        : undefined;
    default:
      return unreachable(shape);
  }
}

function numberIn(
  value: unknown,
  min = -Infinity,
  max = Infinity,
  integer = false,
): number | undefined {
  if (typeof value !== 'number' || !(value >= min && value <= max)) return undefined;
  return integer && !Number.isSafeInteger(value) ? undefined : value;
}

function durationOf(value: unknown): number | undefined {
  const match =
    typeof value === 'string' ? /^(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(value) : null;
  if (match === null) return undefined;
  const ms = Number(match[1]) * (MS_PER_UNIT[String(match[2])] ?? Number.NaN);
  return ms <= DURATION_MAX_MS ? ms : undefined;
}

/** Bytes of `20MB` (powers of ten), `20MiB` (powers of two), or of a plain number. */
export function sizeOf(value: unknown): number | undefined {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  const match =
    typeof value === 'string' ? /^(\d{1,12}(?:\.\d{1,3})?)\s?([KMGTP]?)(i?)B$/.exec(value) : null;
  if (match === null) return undefined;
  const power = SIZE_UNITS.indexOf(`${match[2]}B`);
  const bytes = Number(match[1]) * (match[3] === 'i' ? 1_024 : 1_000) ** power;
  return Number.isSafeInteger(Math.round(bytes)) ? Math.round(bytes) : undefined;
}

function shareOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value >= 0 && value <= 1 ? value : undefined;
  const match = typeof value === 'string' ? /^(\d{1,3}(?:\.\d{1,9})?)%$/.exec(value) : null;
  const share = match === null ? Number.NaN : Number(match[1]) / 100;
  return share <= 1 ? share : undefined;
}

function isDay(text: string): boolean {
  const day = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

function wanted(shape: ScalarShape): string {
  switch (shape.kind) {
    case 'text':
      return 'a text';
    case 'word':
      return `one of ${shape.words.join(', ')}`;
    case 'flag':
      return 'true or false';
    case 'number':
      return `a ${shape.integer === true ? 'whole ' : ''}number from ${shape.min ?? 'any'} to ${shape.max ?? 'any'}`;
    case 'duration':
      return 'a duration such as 200ms, 10s, 5m, 1h or 7d';
    case 'size':
      return 'a size such as 400KiB, 20MB or 5TB';
    case 'share':
      return 'a share such as 99.9% or 0.999';
    case 'day':
      return 'a day such as 2026-10-01';
    default:
      return unreachable(shape);
  }
}

function shown(node: Located): string {
  if (node.kind !== 'scalar') return node.kind === 'list' ? 'a list' : 'a map';
  return node.value === null ? 'nothing' : JSON.stringify(node.value).slice(0, 60);
}
