import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Change } from '../core/change.ts';
import { encodeKey } from '../core/codec.ts';
import { ORDINAL_MAX } from '../core/position.ts';
import type { Row } from '../core/row.ts';
import { put, remove, type Put, type RowProjection } from './definition.ts';
import { checkedPuts, projectRow, stamped, writeName } from './project.ts';

const into = ['documents', 'names'];

function change(before: Row | null, after: Row | null): Change {
  const operation = before === null ? 'create' : after === null ? 'delete' : 'update';
  const at = { epoch: 1, offset: 7, ordinal: 2 };
  return { ...at, lane: 'orders', table: 'products', operation, key: ['a'], before, after };
}

/** Puts the row under each of the keys that it lists. */
const listed: RowProjection = (row) =>
  (row['keys'] as readonly string[]).map((key) => put('documents', [key], { n: row['n'] ?? null }));

const rows = fc.option(
  fc.record({ n: fc.integer(), keys: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd')) }),
  { nil: null },
);

test('after a change the target holds what the projection puts for the row after, and nothing else of the row', () => {
  fc.assert(
    fc.property(rows, rows, (before, after) => {
      const held = new Map<string, Row>();
      const apply = (puts: readonly Put[]): void => {
        for (const { target, key, row } of puts) {
          const name = writeName(target, encodeKey(key));
          if (row === null) held.delete(name);
          else held.set(name, row);
        }
      };
      if (before !== null) apply(projectRow(listed, change(null, before), into));
      apply(projectRow(listed, change(before, after), into));
      const wanted = (after?.keys ?? []).map((key): [string, Row] => [
        writeName('documents', encodeKey([key])),
        { n: after?.n ?? null },
      ]);
      expect(Object.fromEntries(held)).toEqual(Object.fromEntries(wanted));
    }),
  );
});

test('a projection may put one row, several, none, or remove one itself', () => {
  const after = { keys: [] };
  const of = (projected: ReturnType<RowProjection>) =>
    projectRow(() => projected, change(null, after), into);
  expect(of(undefined)).toEqual([]);
  expect(of(null)).toEqual([]);
  expect(of([])).toEqual([]);
  expect(of(put('names', ['x'], {}))).toHaveLength(1);
  expect(of(remove('names', ['x']))).toEqual([{ target: 'names', key: ['x'], row: null }]);
});

test('with deletes ignored, what was put for a row stays when the row goes or puts something else', () => {
  const before = { keys: ['a', 'b'], n: 1 };
  expect(projectRow(listed, change(before, null), into, 'ignore')).toEqual([]);
  expect(projectRow(listed, change(before, { keys: ['b'], n: 2 }), into, 'ignore')).toEqual([
    put('documents', ['b'], { n: 2 }),
  ]);
});

test('what it removed for the row before is not removed again', () => {
  const removing: RowProjection = () => remove('names', ['x']);
  expect(projectRow(removing, change({ n: 1 }, null), into)).toEqual([]);
});

test('whatever a projection throws is PROJECTION_FAILED with its place and its cause', () => {
  const cause = new Error('no such category');
  const work = () =>
    projectRow(
      () => {
        throw cause;
      },
      change(null, {}),
      into,
    );
  expect(work).toThrow(expect.objectContaining({ code: 'PROJECTION_FAILED', cause }));
  expect(work).toThrow(/orders\.products \["a"\] at 1\.7\.2/);
});

test('anything at all that a projection returns is puts, or PROJECTION_INVALID, never another failure', () => {
  const anything = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true });
  const nearly = fc.record(
    {
      target: fc.oneof(fc.constantFrom(...into), anything),
      key: fc.oneof(fc.array(anything), anything),
      row: anything,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(anything, nearly, fc.array(nearly)), (returned) => {
      try {
        for (const item of checkedPuts(returned as never, into, change(null, {}))) {
          expect(into).toContain(item.target);
          expect(item.key.length).toBeGreaterThan(0);
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'PROJECTION_INVALID' });
      }
    }),
  );
});

test('a write carries the identity of its change', () => {
  const at = { epoch: 2, offset: 9, ordinal: ORDINAL_MAX };
  expect(stamped(put('names', ['x'], { a: 1 }), at, 'snapshot')).toEqual({
    target: 'names',
    key: ['x'],
    row: { a: 1 },
    mode: 'snapshot',
    ...at,
  });
});
