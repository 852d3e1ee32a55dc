import type { DatabaseSync } from 'node:sqlite';
import type { Servers } from '../app.ts';
import { actualRows, isIndexWhole } from './actual.ts';
import { boundaries, type Boundary, type Drift, type Entry } from './boundaries.ts';
import { expectedRows } from './expected.ts';
import { openOwner } from './owner.ts';

const EXAMPLES_MAX = 5;

/**
 * Compares every target with what the owner's tables say it should hold, row by row. The shop must be
 * closed. Memory grows with the largest target.
 */
export async function verify(
  dir: string,
  servers?: Servers,
): Promise<Readonly<Record<Boundary, Drift>>> {
  using owner = await openOwner(dir, servers);
  return await compareAll(owner, dir, servers);
}

/** The same with tables of the owner that are open already. */
export async function compareAll(
  owner: DatabaseSync,
  dir: string,
  servers?: Servers,
): Promise<Readonly<Record<Boundary, Drift>>> {
  const found = {} as Record<Boundary, Drift>;
  for (const boundary of boundaries)
    found[boundary] = await compare(
      expectedRows(owner, boundary),
      actualRows(dir, boundary, servers),
    );
  if (!isIndexWhole(dir))
    found.productSearch = {
      ...found.productSearch,
      stale: found.productSearch.stale + 1,
      examples: ['the full-text index differs from its documents'],
    };
  return found;
}

async function compare(expected: Iterable<Entry>, actual: AsyncIterable<Entry>): Promise<Drift> {
  const missing = new Map(expected);
  const checked = missing.size;
  let [extra, stale] = [0, 0];
  const examples: string[] = [];
  const note = (text: string): void => {
    if (examples.length < EXAMPLES_MAX) examples.push(text.slice(0, 300));
  };
  for await (const [key, content] of actual) {
    const wanted = missing.get(key);
    if (wanted === undefined) {
      extra += 1;
      note(`extra ${key}: ${content}`);
    } else if (wanted !== content) {
      stale += 1;
      note(`stale ${key}: ${content} instead of ${wanted}`);
    }
    // A second row of the same key is then one too many.
    missing.delete(key);
  }
  for (const key of missing.keys()) note(`lost ${key}`);
  return { checked, lost: missing.size, extra, stale, examples };
}

/** Whether nothing at all was found. */
export function isWhole(drift: Readonly<Record<string, Drift>>): boolean {
  return Object.values(drift).every(({ lost, extra, stale }) => lost + extra + stale === 0);
}
