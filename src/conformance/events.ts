import assert from 'node:assert/strict';
import type { Value } from '../core/row.ts';
import type { ExpectedVersion } from '../ports/events.ts';
import { eventConcurrencyCases } from './events-concurrency.ts';
import {
  allOf,
  assertDense,
  event,
  numbers,
  rejects,
  some,
  streamOf,
  type EventsCase,
  type EventsConformanceOptions,
} from './events-harness.ts';
import { eventReadCases } from './events-reads.ts';
import { eventTransactionCases } from './events-transactions.ts';

export type { EventsConformanceOptions, EventsSubject } from './events-harness.ts';

/**
 * Registers the conformance suite of the event store port with a test runner. Each case gets a fresh subject and
 * disposes of it; where the manifest says no, the other half of a pair runs.
 */
export function eventsConformance(options: EventsConformanceOptions): void {
  const manifest: EventsCase = {
    id: 'EV-001',
    policy: 'shows the manifest that it was announced with',
    run: async ({ events }) => {
      assert.deepEqual({ ...events.supports }, { ...options.supports });
    },
  };
  for (const { id, policy, when, run } of [
    manifest,
    ...appends,
    ...repeats,
    ...refusals,
    ...eventConcurrencyCases,
    ...eventReadCases,
    ...eventTransactionCases,
  ]) {
    if (when !== undefined && !when(options.supports)) continue;
    options.test(`${id} ${policy}`, async () => {
      const subject = await options.open();
      try {
        await run(subject);
      } finally {
        await subject.dispose();
      }
    });
  }
}

const values: readonly Value[] = [
  null,
  false,
  0,
  -0,
  '',
  'text \u{1F600} \u0000 \u2028',
  0.1,
  Number.NaN,
  -Infinity,
  9_007_199_254_740_993n,
  new Uint8Array([0, 255, 128]),
  [1, [null, 'two']],
  { $i: 'not a tag', nested: { deep: [true] }, '': 1 },
];

/** What is expected, and of which streams it is true: those without events, those with two. */
const expectations: readonly (readonly [ExpectedVersion, boolean, boolean])[] = [
  ['any', true, true],
  ['none', true, false],
  ['exists', false, true],
  [0, true, false],
  [1, false, false],
  [2, false, true],
  [3, false, false],
];

const appends: readonly EventsCase[] = [
  {
    id: 'EV-010',
    policy: 'gives back what was appended, with its place',
    run: async (subject) => {
      const appended = await subject.events.append('order-1', [
        {
          id: 'one',
          type: 'Placed',
          schemaVersion: 3,
          data: { total: 12.5 },
          metadata: { by: 'alice' },
          correlationId: 'c-1',
          causationId: 'k-1',
          tags: ['customer-7', 'eu'],
        },
        { type: 'Paid', data: null },
      ]);
      const { stream, firstVersion, version, position, repeated, ids } = appended;
      assert.deepEqual(
        { stream, firstVersion, version, position, repeated },
        { stream: 'order-1', firstVersion: 1, version: 2, position: 2, repeated: false },
      );
      await subject.reopen();
      const [first, second] = await streamOf(subject.events, 'order-1');
      assert.ok(first !== undefined && second !== undefined);
      const { atMs, ...rest } = first;
      assert.ok(atMs > 1_600_000_000_000, 'a time of this century');
      assert.deepEqual(rest, {
        stream: 'order-1',
        version: 1,
        position: 1,
        id: 'one',
        type: 'Placed',
        schemaVersion: 3,
        data: { total: 12.5 },
        metadata: { by: 'alice' },
        correlationId: 'c-1',
        causationId: 'k-1',
        tags: ['customer-7', 'eu'],
      });
      assert.equal(second.id, ids[1]);
      assert.deepEqual(
        [second.schemaVersion, second.metadata, second.correlationId, second.tags],
        [1, {}, undefined, []],
      );
    },
  },
  {
    id: 'EV-011',
    policy: 'keeps every kind of value as it is',
    run: async ({ events }) => {
      await events.append(
        'values',
        values.map((data) => ({ type: 'Kept', data, metadata: { data } })),
      );
      const found = await streamOf(events, 'values');
      assert.deepEqual(
        found.map(({ data }) => data),
        values,
      );
      assert.deepEqual(
        found.map(({ metadata }) => metadata['data']),
        values,
      );
    },
  },
  {
    id: 'EV-012',
    policy: 'appends where the stream is as expected, and only there',
    run: async ({ events }) => {
      for (const [index, [expected, fitsNone, fitsTwo]] of expectations.entries()) {
        await events.append(`two-${index}`, some(2));
        for (const [stream, fits, actual] of [
          [`none-${index}`, fitsNone, 0],
          [`two-${index}`, fitsTwo, 2],
        ] as const) {
          const append = events.append(stream, [event(3)], { expected });
          if (fits) assert.equal((await append).version, actual + 1);
          else {
            const { details } = await rejects(append, 'STREAM_CONFLICT');
            assert.equal(details['actual'], actual, 'the error says the actual version');
            assert.equal(await events.version(stream), actual, 'nothing was written');
          }
        }
      }
      await assertDense(events);
    },
  },
  {
    id: 'EV-013',
    policy: 'appends to several streams in one step, at neighbouring positions',
    run: async ({ events }) => {
      await events.append('b', some(1));
      const done = await events.appendMany([
        { stream: 'a', events: some(2), expected: 'none' },
        { stream: 'b', events: some(2), expected: 1 },
      ]);
      assert.deepEqual(
        done.map(({ stream, version, position }) => [stream, version, position]),
        [
          ['a', 2, 3],
          ['b', 3, 5],
        ],
      );
      await assertDense(events);
    },
  },
  {
    id: 'EV-014',
    policy: 'writes nothing of an append to several streams if one of them is not as expected',
    run: async ({ events }) => {
      await events.append('b', some(1));
      const { details } = await rejects(
        events.appendMany([
          { stream: 'a', events: some(2) },
          { stream: 'b', events: some(2), expected: 2 },
        ]),
        'STREAM_CONFLICT',
      );
      assert.deepEqual([details['stream'], details['actual']], ['b', 1]);
      assert.deepEqual([await events.version('a'), await events.version('b')], [0, 1]);
      await events.append('a', some(1));
      await assertDense(events);
    },
  },
];

const repeats: readonly EventsCase[] = [
  {
    id: 'EV-020',
    policy: 'answers an append that is done again with what the first one did',
    run: async (subject) => {
      const twice = [event(1, { id: 'e-1' }), event(2, { id: 'e-2' })];
      const first = await subject.events.append('s', twice, { expected: 'none' });
      await subject.events.append('s', some(3));
      await subject.reopen();
      const { events } = subject;
      const again = await events.append('s', twice, { expected: 'none' });
      assert.deepEqual(again, { ...first, repeated: true, offset: again.offset });
      assert.equal(await events.version('s'), 5);
    },
  },
  {
    id: 'EV-021',
    policy: 'refuses an id that names another event already',
    run: async ({ events }) => {
      await events.append('s', [event(1, { id: 'e-1' })]);
      for (const [stream, other] of [
        ['s', event(2, { id: 'e-1' })],
        ['s', event(1, { id: 'e-1', type: 'Other' })],
        ['s', event(1, { id: 'e-1', schemaVersion: 2 })],
        ['t', event(1, { id: 'e-1' })],
      ] as const) {
        const { details } = await rejects(events.append(stream, [other]), 'EVENT_ID_REUSED');
        assert.deepEqual([details['id'], details['stream'], details['version']], ['e-1', 's', 1]);
      }
      assert.equal((await assertDense(events)).length, 1);
    },
  },
  {
    id: 'EV-022',
    policy: 'refuses an append of which only a part is there already',
    run: async ({ events }) => {
      await events.append('s', [event(1, { id: 'e-1' })]);
      await rejects(
        events.append('s', [event(1, { id: 'e-1' }), event(2, { id: 'e-2' })]),
        'EVENT_ID_REUSED',
      );
      await rejects(
        events.appendMany([
          { stream: 's', events: [event(1, { id: 'e-1' })] },
          { stream: 't', events: [event(2)] },
        ]),
        'EVENT_ID_REUSED',
      );
      assert.equal((await assertDense(events)).length, 1);
    },
  },
  {
    id: 'EV-023',
    policy: 'takes other words about an event for the same event',
    run: async ({ events }) => {
      await events.append('s', [event(1, { id: 'e-1', metadata: { trace: 'x' }, tags: ['a'] })]);
      const again = await events.append('s', [
        event(1, { id: 'e-1', metadata: { trace: 'y' }, causationId: 'k' }),
      ]);
      assert.equal(again.repeated, true);
      assert.deepEqual((await events.find('e-1'))?.metadata, { trace: 'x' });
    },
  },
];

const MIB = 1024 * 1024;

const refusals: readonly EventsCase[] = [
  {
    id: 'EV-024',
    policy: 'refuses what is no append, and writes nothing',
    run: async ({ events }) => {
      await rejects(events.append('s', []), 'INPUT_INVALID');
      await rejects(events.append('', some(1)), 'INPUT_INVALID');
      await rejects(events.append('half \ud800', some(1)), 'INPUT_INVALID');
      await rejects(events.append('a\u0000b', some(1)), 'INPUT_INVALID');
      await rejects(events.append('s'.repeat(501), some(1)), 'INPUT_INVALID');
      await rejects(events.append('s', [event(1, { type: '' })]), 'INPUT_INVALID');
      await rejects(
        events.append('s', [event(1, { id: 'x' }), event(2, { id: 'x' })]),
        'INPUT_INVALID',
      );
      await rejects(events.append('s', some(1), { expected: -1 }), 'INPUT_INVALID');
      await rejects(events.appendMany([]), 'INPUT_INVALID');
      await rejects(
        events.appendMany([
          { stream: 's', events: some(1) },
          { stream: 's', events: some(1) },
        ]),
        'INPUT_INVALID',
      );
      await rejects(
        events.append('s', [{ type: 'T', data: new Date(0) as unknown as Value }]),
        'VALUE_UNSUPPORTED',
      );
      assert.equal(await events.head(), 0);
    },
  },
  {
    id: 'EV-025',
    policy: 'takes an event of 10 MB whole, and refuses one over its limit',
    run: async ({ events }) => {
      const text = 'é'.repeat(5 * MIB);
      await events.append('large', [{ type: 'Large', data: text }, event(2)]);
      const [large, small] = await streamOf(events, 'large');
      assert.equal(large?.data, text);
      assert.deepEqual(small?.data, { n: 2 });
      assert.equal((await allOf(events)).length, 2);
      const bytes = events.supports.eventBytesMax;
      await rejects(
        events.append('large', [{ type: 'Large', data: 'x'.repeat(bytes) }]),
        'ROW_TOO_LARGE',
      );
      assert.equal(await events.version('large'), 2);
    },
  },
  {
    id: 'EV-026',
    policy: 'lets the time of a stream not go back when its clock does',
    run: async ({ events, advance }) => {
      if (advance === undefined) return;
      await events.append('s', [event(1)]);
      advance(-3_600_000);
      await events.append('s', [event(2)]);
      advance(3_700_000);
      await events.append('s', [event(3)]);
      const times = (await streamOf(events, 's')).map(({ atMs }) => atMs);
      assert.deepEqual(
        times.toSorted((left, right) => left - right),
        times,
      );
      assert.ok(Number(times[2]) >= Number(times[1]) + 90_000, 'it goes on once the clock does');
      assert.deepEqual(numbers(await allOf(events)), [1, 2, 3]);
    },
  },
  {
    id: 'EV-027',
    policy: 'refuses to change what was appended, whoever tries it',
    when: ({ refusesChange }) => refusesChange,
    run: async ({ events, tamper }) => {
      await events.append('s', some(3));
      for (const how of ['update', 'delete', 'truncate'] as const)
        await assert.rejects(tamper(how), `a ${how} is refused`);
      assert.deepEqual(numbers(await streamOf(events, 's')), [1, 2, 3]);
    },
  },
  {
    id: 'EV-027',
    policy: 'says that it cannot keep others from changing what was appended',
    when: ({ refusesChange }) => !refusesChange,
    run: async ({ events, tamper }) => {
      await events.append('s', some(3));
      await tamper('update');
    },
  },
];
