import { expect, test } from 'vitest';
import { EventEntries, type OrderedEvent } from './event-entries.ts';

/** Events from a position on, by the sizes of the appends they came in. */
function appended(...sizes: readonly number[]): readonly OrderedEvent[] {
  let position = 0;
  return sizes.flatMap((size) =>
    Array.from({ length: size }, (_, index) => {
      position += 1;
      const text = {
        position,
        stream: 'order-1',
        version: position,
        id: `e${position}`,
        type: 'placed',
        schemaVersion: 1,
        data: '{}',
        metadata: '{}',
        correlationId: null,
        causationId: null,
        tags: [],
        atMs: position,
      };
      return { text, ends: index === size - 1 };
    }),
  );
}

test('each append is a transaction of its own, however many are read together', () => {
  const entries = new EventEntries().take(appended(1, 3, 1));
  expect(
    entries.map((entry) =>
      entry.kind === 'change'
        ? `${entry.key} at ${entry.offset}.${entry.ordinal}`
        : `${entry.kind} ${entry.offset}`,
    ),
  ).toEqual([
    '[1] at 1.0',
    'commit 1',
    '[2] at 2.0',
    '[3] at 2.1',
    '[4] at 2.2',
    'commit 4',
    '[5] at 5.0',
    'commit 5',
  ]);
});

test('what a snapshot at any head does not have is never stamped as if it had', () => {
  const events = appended(1, 2, 1, 1, 4, 1);
  const entries = new EventEntries().take(events);
  for (const { text } of events.filter(({ ends }) => ends)) {
    const head = text.position;
    const beyond = entries.flatMap((entry) =>
      entry.kind === 'change' && Number(entry.key.slice(1, -1)) > head ? [entry.offset] : [],
    );
    expect(beyond.filter((offset) => offset <= head)).toEqual([]);
  }
});

test('an append that is cut by the end of a page is one transaction all the same', () => {
  const reading = new EventEntries();
  const events = appended(1, 3);
  expect(reading.take(events.slice(0, 3)).filter(({ kind }) => kind === 'commit')).toMatchObject([
    { offset: 1 },
  ]);
  expect(reading.take(events.slice(3))).toMatchObject([
    { kind: 'change', offset: 2, ordinal: 2 },
    { kind: 'commit', offset: 4, changes: 3 },
  ]);
});
