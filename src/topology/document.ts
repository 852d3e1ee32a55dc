import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
} from 'yaml';
import { TallyError, unreachable } from '../core/errors.ts';

/** A file larger than this is no description that somebody wrote: 4 MiB hold about 15,000 services. */
export const DOCUMENT_BYTES_MAX: number = 4 * 1_048_576;
/** Nodes of one document, aliases expanded. Nine aliases of nine aliases, nine times over, are 10^9. */
const DOCUMENT_NODES_MAX = 250_000;
/** Lists and maps inside one another. */
const DOCUMENT_DEPTH_MAX = 32;
/** Problems of one file that are told; whoever mends these comes back. */
export const PROBLEMS_MAX = 100;

/** A line and a column of a file, both from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A value of a document with its place. */
export type Located =
  | {
      readonly kind: 'scalar';
      readonly at: Place;
      readonly value: string | number | boolean | null;
    }
  | { readonly kind: 'list'; readonly at: Place; readonly items: readonly Located[] }
  | { readonly kind: 'map'; readonly at: Place; readonly entries: readonly Entry[] };

export interface Entry {
  readonly key: string;
  /** Where the key stands. */
  readonly at: Place;
  readonly value: Located;
}

/** What is wrong at a place of a file. */
export interface Problem {
  /** The field, such as `services[2].storage.cache`; empty for the file. */
  readonly path: string;
  readonly at: Place;
  readonly what: string;
  readonly mend: string;
}

/**
 * A YAML (or JSON) text as a tree in which each value knows its line. Aliases are expanded up to a bound; one that holds
 * itself is refused. Throws INPUT_INVALID with `file:line:column` if it is no single YAML document, or is over a limit.
 */
export function readDocument(text: string, file: string): Located {
  if (Buffer.byteLength(text) > DOCUMENT_BYTES_MAX)
    throw invalid(
      `the file is larger than ${DOCUMENT_BYTES_MAX} bytes`,
      file,
      'split it into files of one system each',
    );
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    // A repeated key is reported by the reader, with its place; to look for it in here costs a comparison per pair.
    uniqueKeys: false,
    logLevel: 'silent',
  });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw invalid(
      `the file is no YAML document: ${error.message.split('\n')[0]}`,
      `${file}:${line}:${col}`,
      'correct the text at that place',
    );
  }
  return new Expansion(document, lines, file).root();
}

/** Walks the parsed nodes once; counts, so that a small file cannot become a large tree. */
class Expansion {
  readonly #document: Document;
  readonly #lines: LineCounter;
  readonly #file: string;
  /** Aliases that are being expanded: one that is met again inside itself has no end. */
  readonly #open = new Set<unknown>();
  /** The last node under each anchor, in the order of the text: an alias means the one before it. */
  readonly #anchors = new Map<string, unknown>();
  #nodes = 0;

  constructor(document: Document, lines: LineCounter, file: string) {
    this.#document = document;
    this.#lines = lines;
    this.#file = file;
  }

  root(): Located {
    return this.#located(this.#document.contents, { line: 1, column: 1 }, 0);
  }

  #located(node: unknown, outer: Place, depth: number): Located {
    const at = this.#place(node) ?? outer;
    this.#nodes += 1;
    if (this.#nodes > DOCUMENT_NODES_MAX || depth > DOCUMENT_DEPTH_MAX)
      throw invalid(
        this.#nodes > DOCUMENT_NODES_MAX
          ? `the file expands to more than ${DOCUMENT_NODES_MAX} values`
          : `more than ${DOCUMENT_DEPTH_MAX} lists and maps stand inside one another`,
        this.#where(at),
        'write out what is meant, without aliases of aliases',
      );
    if (isAlias(node)) return this.#alias(node.source, this.#anchors.get(node.source), at, depth);
    if (isNode(node) && 'anchor' in node && typeof node.anchor === 'string')
      this.#anchors.set(node.anchor, node);
    if (isSeq(node))
      return {
        kind: 'list',
        at,
        items: node.items.map((item) => this.#located(item, at, depth + 1)),
      };
    if (isMap(node)) return this.#map(node.items, at, depth);
    return { kind: 'scalar', at, value: isScalar(node) ? scalar(node.value) : null };
  }

  #alias(name: string, target: unknown, at: Place, depth: number): Located {
    if (target === undefined || this.#open.has(target))
      throw invalid(
        target === undefined ? `there is no anchor &${name}` : `the anchor &${name} holds itself`,
        this.#where(at),
        'write out what is meant',
      );
    this.#open.add(target);
    const located = this.#located(target, at, depth + 1);
    this.#open.delete(target);
    return located;
  }

  #map(
    items: readonly { readonly key: unknown; readonly value: unknown }[],
    at: Place,
    depth: number,
  ): Located {
    const entries = items.map(({ key, value }) => {
      const keyAt = this.#place(key) ?? at;
      if (!isScalar(key))
        throw invalid('a key is no plain word', this.#where(keyAt), 'use a name as the key');
      return { key: String(key.value), at: keyAt, value: this.#located(value, keyAt, depth + 1) };
    });
    return { kind: 'map', at, entries };
  }

  #place(node: unknown): Place | undefined {
    const range =
      typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
    if (!Array.isArray(range) || typeof range[0] !== 'number') return undefined;
    const { line, col } = this.#lines.linePos(range[0]);
    return { line, column: col };
  }

  #where({ line, column }: Place): string {
    return `${this.#file}:${line}:${column}`;
  }
}

function scalar(value: unknown): string | number | boolean | null {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
      return value;
    case 'bigint':
      return value.toString();
    default:
      return null;
  }
}

function invalid(what: string, where: string, mend: string): TallyError {
  return new TallyError('INPUT_INVALID', { what, where, mend });
}

/** A document as plain values, without its places. */
export function plainOf(located: Located): unknown {
  switch (located.kind) {
    case 'scalar':
      return located.value;
    case 'list':
      return located.items.map(plainOf);
    case 'map':
      return Object.fromEntries(located.entries.map(({ key, value }) => [key, plainOf(value)]));
    default:
      return unreachable(located);
  }
}
