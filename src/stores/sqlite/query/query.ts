import type { SQLOutputValue } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOneOf, checkOptions } from '../../../core/options.ts';
import type { Key, Row } from '../../../core/row.ts';
import type { Catalogue } from '../sink/catalogue.ts';
import type { Host } from '../sink/host.ts';
import { quote, targetNames } from '../sink/names.ts';
import { readerOf, type ReadRow, type TargetReader } from '../sink/reader.ts';
import type { TargetDeclaration } from '../sink/targets.ts';

/** A document that a search found. */
export interface SearchHit extends ReadRow {
  /** How well it fits (BM25), larger is better; comparable within one answer only. */
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
export interface SqliteQuery {
  /** One row by key; undefined if there is none, or it has expired. */
  get(target: string, key: Key): Promise<Row | undefined>;
  /**
   * Documents of a full-text target that hold all words of `text` (the first 64), best first. The
   * text is never read as query syntax. Throws CAPABILITY_MISSING for a target of another kind.
   */
  search(
    target: string,
    text: string,
    options?: { readonly limit?: number },
  ): Promise<readonly SearchHit[]>;
  /**
   * Nodes of an edges target that can be reached from `node`, nearest first, each once, the node
   * itself never. Throws CAPABILITY_MISSING for a target of another kind.
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
export function openQuery(host: Host, catalogue: Catalogue): SqliteQuery {
  const reader = (target: string, kind: TargetDeclaration['kind']): TargetReader => {
    if (catalogue.targets[target]?.kind !== kind) throw otherKind(target, kind);
    return readerOf(host, catalogue, target);
  };
  return {
    async get(target, key) {
      return readerOf(host, catalogue, target).get(key);
    },
    async search(target, text, options = {}) {
      checkOptions(options, ['limit'], 'search');
      const limit = checkNumber(options.limit ?? 20, 'search.limit', {
        min: 1,
        max: LIMIT_MAX,
        integer: true,
      });
      return search(host, reader(target, 'fullText'), target, { text, limit });
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
      return neighbours(host, reader(target, 'edges'), walk);
    },
  };
}

function search(
  host: Host,
  reader: TargetReader,
  target: string,
  { text, limit }: { readonly text: string; readonly limit: number },
): readonly SearchHit[] {
  const query = matchText(text);
  if (query === '') return [];
  const index = quote(targetNames(target, 0, 'seen').index);
  const { connection } = host;
  const statement = connection.prepareArrays(
    `SELECT ${reader.columns('t.')}, ${index}.rank FROM ${index} JOIN ${reader.table} AS t ON t._id = ${index}.rowid
     WHERE ${index} MATCH ? ORDER BY ${index}.rank, t.key LIMIT ?`,
  );
  return records(connection.guard(() => statement.all(query, limit))).map((record) => ({
    ...reader.read(record),
    score: -Number(record.at(-1)),
  }));
}

/**
 * What people type, as an FTS5 query: each word a quoted phrase, all of them required. A word
 * without a letter or digit has no tokens and is left out.
 */
function matchText(text: string): string {
  return text
    .replaceAll('\0', ' ')
    .split(/\s+/u)
    .filter((word) => /[\p{L}\p{N}]/u.test(word))
    .slice(0, SEARCH_TERMS_MAX)
    .map((word) => `"${word.replaceAll('"', '""')}"`)
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
 * One statement per distance, all nodes of that distance at once. A single recursive statement
 * would come back to a node of a cycle once per distance, and a bound on its rows would then leave
 * out nodes that are near; here each node is followed once.
 */
function neighbours(host: Host, reader: TargetReader, walk: Walk): readonly Neighbour[] {
  const { connection } = host;
  const ways = (
    [
      ['out', 'from', 'to'],
      ['in', 'to', 'from'],
    ] as const
  )
    .filter(([way]) => walk.direction === way || walk.direction === 'both')
    .map(([, near, far]) => ({
      sql: `SELECT ${reader.columns()}, ${quote(far)} FROM ${reader.table}
        WHERE ${quote(near)} IN (SELECT value FROM json_each(?)) AND (?2 IS NULL OR kind = ?2)
        ORDER BY ${quote(far)}, key`,
    }));
  const seen = new Set([walk.node]);
  const found: Neighbour[] = [];
  let frontier: readonly string[] = [walk.node];
  for (let depth = 1; depth <= walk.depth && frontier.length > 0; depth++) {
    const reached: string[] = [];
    for (const { sql } of ways) {
      const rows = connection
        .prepareArrays(sql)
        .iterate(JSON.stringify(frontier), walk.kind ?? null);
      for (const record of rows as unknown as Iterable<readonly SQLOutputValue[]>) {
        const node = String(record.at(-1));
        if (seen.has(node)) continue;
        seen.add(node);
        reached.push(node);
        found.push({ node, depth, edge: reader.read(record).row });
        if (found.length === walk.limit) return found;
      }
    }
    frontier = reached;
  }
  return found;
}

function records(rows: unknown): readonly (readonly SQLOutputValue[])[] {
  return rows as readonly (readonly SQLOutputValue[])[];
}

function otherKind(target: string, kind: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `the target ${target} is not declared as ${kind}()`,
    where: `target ${target}`,
    mend: `declare it: targets: { ${target}: ${kind}(…) }, and rebuild the flow`,
    details: { target, kind },
  });
}
