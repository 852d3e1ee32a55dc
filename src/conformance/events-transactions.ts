import assert from 'node:assert/strict';
import { isTallyError } from '../core/errors.ts';
import type { EventStore } from '../ports/events.ts';
import {
  allOf,
  assertDense,
  event,
  numbers,
  rejects,
  some,
  streamOf,
  type EventsCase,
  type EventsSubject,
} from './events-harness.ts';

class Unwanted extends Error {}

/** Events that commit with rows of the application. */
export const eventTransactionCases: readonly EventsCase[] = [
  {
    id: 'EV-060',
    policy: 'keeps what a transaction appended if it commits, and nothing of it otherwise',
    when: ({ transactions }) => transactions !== 'none',
    run: async ({ events, write }) => {
      await assert.rejects(
        write(async (tx) => {
          await events.appendIn(tx, [{ stream: 's', events: some(3) }]);
          throw new Unwanted('rolled back');
        }),
        Unwanted,
      );
      assert.deepEqual([await events.version('s'), await events.head()], [0, 0]);
      const [placed] = await write((tx) =>
        events.appendIn(tx, [{ stream: 's', events: [event(1, { id: 'e' }), event(2)] }]),
      );
      assert.deepEqual(
        { ...placed, ids: placed?.ids.length },
        { stream: 's', firstVersion: 1, version: 2, ids: 2, repeated: false },
      );
      assert.equal(await events.head(), 2, 'no number was lost with what was rolled back');
      assert.equal((await events.find('e'))?.position, 1);
      await assertDense(events);
    },
  },
  {
    id: 'EV-061',
    policy: 'refuses in a transaction what it refuses outside, and lets the transaction go on',
    when: ({ transactions }) => transactions !== 'none',
    run: async ({ events, write }) => {
      await events.append('s', [event(1, { id: 'e-1' })]);
      await write(async (tx) => {
        const { details } = await rejects(
          events.appendIn(tx, [
            { stream: 't', events: some(1) },
            { stream: 's', events: some(1), expected: 'none' },
          ]),
          'STREAM_CONFLICT',
        );
        assert.equal(details['actual'], 1);
        await rejects(
          events.appendIn(tx, [{ stream: 's', events: [event(9, { id: 'e-1' })] }]),
          'EVENT_ID_REUSED',
        );
        const [again] = await events.appendIn(tx, [
          { stream: 's', events: [event(1, { id: 'e-1' })], expected: 'none' },
        ]);
        assert.deepEqual([again?.repeated, again?.version], [true, 1]);
        await events.appendIn(tx, [{ stream: 's', events: [event(2)], expected: 1 }]);
      });
      assert.equal(await events.version('t'), 0);
      assert.deepEqual(numbers(await streamOf(events, 's')), [1, 2]);
      await assertDense(events);
    },
  },
  {
    id: 'EV-062',
    policy: 'sees in a transaction what it appended before in it, and keeps its events together',
    when: ({ transactions }) => transactions !== 'none',
    run: async ({ events, write }) => {
      await write(async (tx) => {
        await events.appendIn(tx, [{ stream: 'a', events: some(2), expected: 'none' }]);
        await events.appendIn(tx, [
          { stream: 'b', events: some(1) },
          { stream: 'a', events: some(1, 3), expected: 2 },
        ]);
      });
      assert.deepEqual(
        (await assertDense(events)).map(({ stream, version }) => [stream, version]),
        [
          ['a', 1],
          ['a', 2],
          ['b', 1],
          ['a', 3],
        ],
      );
    },
  },
  {
    id: 'EV-063',
    policy: 'lets others append to other streams while a transaction is open',
    when: ({ transactions }) => transactions === 'concurrent',
    run: async (subject) => {
      const other = await subject.another();
      const open = openTransaction(subject, 'held');
      await open.appended;
      await Promise.all([
        subject.events.append('free-1', some(2)),
        other.append('free-2', some(2)),
        other.appendMany([
          { stream: 'free-3', events: some(1) },
          { stream: 'free-4', events: some(1) },
        ]),
      ]);
      assert.deepEqual(
        (await allOf(other)).map(({ position }) => position),
        [1, 2, 3, 4, 5, 6],
        'what is open holds no number',
      );
      open.end();
      await open.done;
      const last = (await assertDense(other)).at(-1);
      assert.deepEqual([last?.stream, last?.position], ['held', 7]);
    },
  },
  {
    id: 'EV-064',
    policy: 'lets whoever appends to a stream of an open transaction wait for its end',
    when: ({ transactions }) => transactions === 'concurrent',
    run: async (subject) => {
      const other = await subject.another();
      const open = openTransaction(subject, 's');
      await open.appended;
      const waiting = [
        other.append('s', [event(2)]),
        subject.events.append('s', [event(3)], { expected: 'none' }),
      ];
      await other.append('t', some(1));
      open.end();
      const [behind, conflicting] = await Promise.allSettled(waiting);
      await open.done;
      assert.equal(behind?.status, 'fulfilled');
      assert.ok(
        conflicting?.status === 'rejected' && isTallyError(conflicting.reason, 'STREAM_CONFLICT'),
      );
      assert.deepEqual(numbers(await streamOf(other, 's')), [1, 2]);
      await assertDense(other);
    },
  },
  {
    id: 'EV-065',
    policy: 'keeps the order of each stream among appends inside and outside of transactions',
    when: ({ transactions }) => transactions !== 'none',
    run: async (subject) => {
      const { events, write } = subject;
      const other = await subject.another();
      await Promise.all(
        Array.from({ length: 12 }, async (_, writer) => {
          const stream = `s-${writer % 3}`;
          for (let n = 0; n < 5; n += 1) {
            if ((writer + n) % 2 === 0) await append(other, stream, writer);
            else await write((tx) => events.appendIn(tx, [{ stream, events: [event(writer)] }]));
          }
        }),
      );
      assert.equal((await assertDense(events)).length, 60);
    },
  },
];

async function append(events: EventStore, stream: string, n: number): Promise<void> {
  await events.append(stream, [event(n)]);
}

/** A transaction that has appended one event to a stream, and stays open until told otherwise. */
function openTransaction(
  { events, write }: EventsSubject,
  stream: string,
): {
  readonly appended: Promise<void>;
  readonly done: Promise<void>;
  readonly end: () => void;
} {
  const appended = Promise.withResolvers<void>();
  const ending = Promise.withResolvers<void>();
  const done = write(async (tx) => {
    await events.appendIn(tx, [{ stream, events: [event(1)] }]);
    appended.resolve();
    await ending.promise;
  });
  done.catch((error: unknown) => appended.reject(error));
  return { appended: appended.promise, done, end: ending.resolve };
}
