import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { actualRows, isIndexWhole } from './actual.ts';
import { boundaries, type Boundary, type Drift } from './boundaries.ts';
import { expectedRows } from './expected.ts';

const EXAMPLES_MAX = 5;

/**
 * Compares every target with what the owner's tables say it should hold, row by row. The shop must be
 * closed. Memory grows with the largest target.
 */
export async function verify(dir: string): Promise<Readonly<Record<Boundary, Drift>>> {
  using owner = new DatabaseSync(join(dir, 'orders.db'));
  const found = {} as Record<Boundary, Drift>;
  for (const boundary of boundaries) found[boundary] = await compare(owner, dir, boundary);
  if (!isIndexWhole(dir))
    found.productSearch = {
      ...found.productSearch,
      stale: found.productSearch.stale + 1,
      examples: ['the full-text index differs from its documents'],
    };
  return found;
}

async function compare(owner: DatabaseSync, dir: string, boundary: Boundary): Promise<Drift> {
  const missing = new Map(expectedRows(owner, boundary));
  const checked = missing.size;
  let [extra, stale] = [0, 0];
  const examples: string[] = [];
  const note = (text: string): void => {
    if (examples.length < EXAMPLES_MAX) examples.push(text.slice(0, 300));
  };
  for await (const [key, content] of actualRows(dir, boundary)) {
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
