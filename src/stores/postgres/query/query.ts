import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOneOf, checkOptions } from '../../../core/options.ts';
import type { Key, Row } from '../../../core/row.ts';
import { identifier, literal } from '../database.ts';
import type { Readers, ReadRow, TargetReader } from '../sink/reader.ts';
import type { TargetDeclaration } from '../sink/targets.ts';

/** A document that a search found. */
export interface SearchHit extends ReadRow {
  /** How well it fits (ts_rank), larger is better; comparable within one answer only. */
  readonly score: number;
}

/** A node that was reached along edges. */
export interface Neighbour {
  readonly node: string;
  /** Edges on the shortest way to it. */
  readonly depth: number;
  /** The edge by which it was first reached. */
  readonly edge: Row;
}

export interface NeighboursOptions {
  /** How many edges away at most, 1 if not given, up to 32. */
  readonly depth?: number;
  /** Follow only edges of this kind. */
  readonly kind?: string;
  /** Follow edges from the node (`out`, if not given), to it, or both. */
  readonly direction?: 'out' | 'in' | 'both';
  /** Nodes in the answer at most, 100 if not given, up to 10 000. */
  readonly limit?: number;
}

/** The small queries over targets; for all others the native client speaks SQL. */
export interface PostgresQuery {
  /** One row by key; undefined if there is none, or it has expired. */
  get(target: string, key: Key): Promise<Row | undefined>;
  /**
   * Documents of a full-text target that hold all words of `text` (the first 64), best first. The text is never read
   * as query syntax. Throws CAPABILITY_MISSING for a target of another kind.
   */
  search(
    target: string,
    text: string,
    options?: { readonly limit?: number },
  ): Promise<readonly SearchHit[]>;
  /**
   * Nodes of an edges target that can be reached from `node`, nearest first, each once, the node itself never.
   * Throws CAPABILITY_MISSING for a target of another kind.
   */
  neighbours(
    target: string,
    node: string | number,
    options?: NeighboursOptions,
  ): Promise<readonly Neighbour[]>;
}

const SEARCH_TERMS_MAX = 64;
const LIMIT_MAX = 10_000;
const DEPTH_MAX = 32;

/** The query ports of a store. */
export function openQuery(readers: Readers): PostgresQuery {
  const ask = <Result>(
    target: string,
    kind: TargetDeclaration['kind'],
    work: (reader: TargetReader) => Promise<Result>,
  ): Promise<Result> => {
    if (readers.kind(target) !== kind) throw otherKind(target, kind);
    return readers.use(target, work);
  };
  return {
    async get(target, key) {
      return readers.use(target, (reader) => reader.get(key));
    },
    async search(target, text, options = {}) {
      checkOptions(options, ['limit'], 'search');
      const limit = checkNumber(options.limit ?? 20, 'search.limit', {
        min: 1,
        max: LIMIT_MAX,
        integer: true,
      });
      return ask(target, 'fullText', (reader) => search(reader, text, limit));
    },
    async neighbours(target, node, options = {}) {
      checkOptions(options, ['depth', 'kind', 'direction', 'limit'], 'neighbours');
      const depth = checkNumber(options.depth ?? 1, 'neighbours.depth', {
        min: 1,
        max: DEPTH_MAX,
        integer: true,
      });
      const limit = checkNumber(options.limit ?? 100, 'neighbours.limit', {
        min: 1,
        max: LIMIT_MAX,
        integer: true,
      });
      const direction = checkOneOf(options.direction ?? 'out', 'neighbours.direction', [
        'out',
        'in',
        'both',
      ]);
      const walk = { node: String(node), depth, limit, direction, kind: options.kind };
      return ask(target, 'edges', (reader) => neighbours(reader, walk));
    },
  };
}

async function search(
  reader: TargetReader,
  text: string,
  limit: number,
): Promise<readonly SearchHit[]> {
  const words = wordsOf(text);
  if (words === '') return [];
  // plainto_tsquery takes words alone: no operator, no weight, no prefix.
  const query = `plainto_tsquery(${literal(reader.layout.language ?? 'simple')}::regconfig, $1)`;
  const records = await reader.select(
    `search @@ ${query} ORDER BY ts_rank(search, ${query}) DESC, key LIMIT ${limit}`,
    [words],
    { after: `, ts_rank(search, ${query})` },
  );
  return records.map((record) => ({ ...reader.read(record), score: Number(record.at(-1)) }));
}

/** The first words of what people type; a word without a letter or digit has nothing to be found by. */
function wordsOf(text: string): string {
  return text
    .toWellFormed()
    .replaceAll('\0', ' ')
    .split(/\s+/u)
    .filter((word) => /[\p{L}\p{N}]/u.test(word))
    .slice(0, SEARCH_TERMS_MAX)
    .join(' ');
}

interface Walk {
  readonly node: string;
  readonly depth: number;
  readonly limit: number;
  readonly direction: 'out' | 'in' | 'both';
  readonly kind: string | undefined;
}

/**
 * One statement per distance and direction, all nodes of that distance at once. A single recursive statement would
 * come back to a node of a cycle once per distance; here each node is followed once, and no answer is larger than
 * what is still wanted.
 */
async function neighbours(reader: TargetReader, walk: Walk): Promise<readonly Neighbour[]> {
  const ways = (
    [
      ['out', 'from', 'to'],
      ['in', 'to', 'from'],
    ] as const
  ).filter(([way]) => walk.direction === way || walk.direction === 'both');
  const seen = new Set([walk.node]);
  const found: Neighbour[] = [];
  let frontier: readonly string[] = [walk.node];
  for (let depth = 1; depth <= walk.depth && frontier.length > 0; depth++) {
    const reached: string[] = [];
    for (const [, near, far] of ways) {
      const end = identifier(far);
      const records = await reader.select(
        `${identifier(near)} = ANY ($1::text[]) AND ($2::text IS NULL OR kind = $2) AND ${end} <> ALL ($3::text[])
         ORDER BY ${end}, key LIMIT ${walk.limit - found.length}`,
        [frontier, walk.kind ?? null, [...seen]],
        { before: `DISTINCT ON (${end})`, after: `, ${end}` },
      );
      for (const record of records) {
        const node = String(record.at(-1));
        seen.add(node);
        reached.push(node);
        found.push({ node, depth, edge: reader.read(record).row });
      }
      if (found.length >= walk.limit) return found;
    }
    frontier = reached;
  }
  return found;
}

function otherKind(target: string, kind: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `the target ${target} is not declared as ${kind}()`,
    where: `target ${target}`,
    mend: `declare it: targets: { ${target}: ${kind}(…) }, and rebuild the flow`,
    details: { target, kind },
  });
}
