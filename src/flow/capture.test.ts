import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareIdentities, type Identity } from '../core/position.ts';
import type { SourceEntry } from '../ports/source.ts';
import { freshRecords } from './capture.ts';
import { changeOf, commitOf, recordOf } from './record.ts';

/** Entries of some transactions, each with some changes and its commit. */
function entriesOf(sizes: readonly number[]): SourceEntry[] {
  return sizes.flatMap((changes, index): SourceEntry[] => {
    const offset = index * 2 + 1;
    return [
      ...Array.from({ length: changes }, (_, ordinal) => ({
        kind: 'change' as const,
        offset,
        ordinal,
        table: 't',
        operation: 'create' as const,
        key: `[${ordinal}]`,
        before: null,
        after: '{}',
      })),
      { kind: 'commit', offset, changes, committedAtMs: 1, token: `tok${offset}` },
    ];
  });
}

const sizes = fc.array(fc.nat(4), { maxLength: 12 });

test('what the log has is dropped, everything after it is kept, wherever the log ends and a batch begins', () => {
  fc.assert(
    fc.property(sizes, fc.nat(40), fc.nat(40), (transactions, logged, from) => {
      const entries = entriesOf(transactions);
      const all = entries.map((entry) => recordOf(entry, 3));
      const last: Identity | undefined = all[logged - 1];
      const batch = entries.slice(from);
      const fresh = freshRecords(batch, 3, last);
      expect(fresh).toEqual(
        all
          .slice(from)
          .filter((record) => last === undefined || compareIdentities(record, last) > 0),
      );
    }),
  );
});

test('appending what a source yields again and again appends each record once, in order', () => {
  fc.assert(
    fc.property(sizes, fc.array(fc.nat(20), { maxLength: 8 }), (transactions, restarts) => {
      const entries = entriesOf(transactions);
      const all = entries.map((entry) => recordOf(entry, 1));
      const log: typeof all = [];
      for (const upTo of [...restarts, entries.length]) {
        // The source begins at or before what the log has, and may be cut off anywhere.
        const begin = Math.max(0, log.length - 3);
        log.push(...freshRecords(entries.slice(begin, begin + upTo), 1, log.at(-1)));
      }
      expect(log).toEqual(all.slice(0, log.length));
    }),
  );
});

test('a record gives back the change and the commit that it was made of', () => {
  const change: SourceEntry = {
    kind: 'change',
    offset: 5,
    ordinal: 1,
    table: 'order "lines"',
    operation: 'update',
    key: '["a",{"$i":"9007199254740993"}]',
    before: '{"n":1}',
    after: '{"n":{"$b":"AQI="}}',
  };
  expect(changeOf(recordOf(change, 2), 'orders')).toEqual({
    lane: 'orders',
    epoch: 2,
    offset: 5,
    ordinal: 1,
    table: 'order "lines"',
    operation: 'update',
    key: ['a', 9007199254740993n],
    before: { n: 1 },
    after: { n: new Uint8Array([1, 2]) },
  });
  const commit = recordOf(
    { kind: 'commit', offset: 5, changes: 2, committedAtMs: 99, token: 'x:1' },
    2,
  );
  expect(commit).toMatchObject({ kind: 'commit', epoch: 2, offset: 5, ordinal: 2 });
  expect(commitOf(commit)).toEqual({ n: 2, at: 99, tok: 'x:1' });
});
