import { describe, expect, test } from 'vitest';
import type { SourceEntry } from '../../../../ports/source.ts';
import { Batches } from './batches.ts';

const change = (offset: number, size: number): SourceEntry => ({
  kind: 'change',
  offset,
  ordinal: 0,
  table: 'orders',
  operation: 'create',
  key: '[1]',
  before: null,
  after: 'x'.repeat(size - 3),
});
const commit = (offset: number, changes: number): SourceEntry => ({
  kind: 'commit',
  offset,
  changes,
  committedAtMs: 0,
  token: 't',
});

describe('batches', () => {
  test('hold at most their rows and bytes, except for one change that is larger', () => {
    const batches = new Batches({ rowsMax: 2, bytesMax: 100 });
    for (const size of [10, 10, 10, 95, 1_000, 10]) batches.push(change(size, size));
    const sizes: number[][] = [];
    for (let batch = batches.take(); batch !== undefined; batch = batches.take())
      sizes.push(batch.map(({ offset }) => offset));
    expect(sizes).toEqual([[10, 10], [10], [95], [1_000], [10]]);
    expect(batches.isEmpty).toBe(true);
  });

  test('keep the last of several positions without changes, and every commit with some', () => {
    const batches = new Batches({ rowsMax: 10, bytesMax: 1_000 });
    for (const entry of [commit(1, 0), commit(2, 0), change(3, 10), commit(4, 1), commit(5, 0)])
      batches.push(entry);
    batches.push(commit(6, 0));
    expect(batches.take()?.map(({ offset }) => offset)).toEqual([2, 3, 4, 6]);
    expect(batches.take()).toBeUndefined();
  });
});
