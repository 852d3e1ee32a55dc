import { unreachable } from '../core/errors.ts';

/**
 * What a file may say, as data: the reader checks by it, the JSON Schema for editors is printed from it, and so the two
 * never differ.
 */
export type Shape =
  | { readonly kind: 'text'; readonly about: string }
  | { readonly kind: 'word'; readonly about: string; readonly words: readonly string[] }
  | { readonly kind: 'flag'; readonly about: string }
  | {
      readonly kind: 'number';
      readonly about: string;
      readonly min?: number;
      readonly max?: number;
      readonly integer?: true;
    }
  /** Milliseconds; written `200ms`, `10s`, `7d`. */
  | { readonly kind: 'duration'; readonly about: string }
  /** Bytes; written `400KiB`, `20MB`, `5TB`. */
  | { readonly kind: 'size'; readonly about: string }
  /** A share from 0 to 1; written `99.9%` or `0.999`. */
  | { readonly kind: 'share'; readonly about: string }
  /** A day; written `2026-10-01`. */
  | { readonly kind: 'day'; readonly about: string }
  | { readonly kind: 'list'; readonly about: string; readonly of: Shape; readonly max: number }
  /** Names of the author's own choice, each with a value. */
  | { readonly kind: 'map'; readonly about: string; readonly of: Shape; readonly max: number }
  | ObjectShape;

/** Fields by name. */
export interface ObjectShape {
  readonly kind: 'object';
  readonly about: string;
  readonly fields: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  /** The field that a plain text stands for: `cache: redis` is `cache: { system: redis }`. */
  readonly short?: string;
}

/** The JSON Schema (draft 2020-12) of a shape, for editors that complete and check while one types. */
export function jsonSchema(shape: Shape, title: string): Readonly<Record<string, unknown>> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title,
    ...schemaOf(shape),
  };
}

function schemaOf(shape: Shape): Readonly<Record<string, unknown>> {
  const description = shape.about;
  switch (shape.kind) {
    case 'text':
      return { type: 'string', minLength: 1, description };
    case 'word':
      return { type: 'string', enum: shape.words, description };
    case 'flag':
      return { type: 'boolean', description };
    case 'number':
      return {
        type: shape.integer === true ? 'integer' : 'number',
        description,
        ...(shape.min === undefined ? {} : { minimum: shape.min }),
        ...(shape.max === undefined ? {} : { maximum: shape.max }),
      };
    case 'duration':
      return { type: 'string', pattern: '^\\d+(\\.\\d+)?(ms|s|m|h|d)$', description };
    case 'size':
      return {
        type: ['string', 'integer'],
        pattern: '^\\d+(\\.\\d+)?\\s?(B|[KMGTP]i?B)$',
        description,
      };
    case 'share':
      return { type: ['string', 'number'], pattern: '^\\d+(\\.\\d+)?%$', description };
    case 'day':
      return { type: 'string', format: 'date', description };
    case 'list':
      return { type: 'array', items: schemaOf(shape.of), maxItems: shape.max, description };
    case 'map':
      return {
        type: 'object',
        additionalProperties: schemaOf(shape.of),
        maxProperties: shape.max,
        description,
      };
    case 'object':
      return objectSchema(shape);
    default:
      return unreachable(shape);
  }
}

function objectSchema(shape: ObjectShape): Readonly<Record<string, unknown>> {
  const object = {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(shape.fields).map(([name, field]) => [name, schemaOf(field)]),
    ),
    additionalProperties: false,
    ...(shape.required === undefined ? {} : { required: shape.required }),
    description: shape.about,
  };
  if (shape.short === undefined) return object;
  const short = shape.fields[shape.short];
  return { anyOf: [short === undefined ? {} : schemaOf(short), object], description: shape.about };
}
