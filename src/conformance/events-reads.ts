import assert from 'node:assert/strict';
import type { StoredEvent } from '../ports/events.ts';
import { allOf, event, numbers, some, streamOf, type EventsCase } from './events-harness.ts';

/** More than one page of any store that bounds its pages. */
const MANY = 2_500;

/** How events are read again: by stream, in the order of all, by id, and as they come. */
export const eventReadCases: readonly EventsCase[] = [
  {
    id: 'EV-040',
    policy: 'reads any part of a stream, both ways',
    run: async ({ events }) => {
      for (let at = 0; at < MANY; at += 500) await events.append('s', some(500, at + 1));
      await events.append('t', some(1));
      const counted = Array.from({ length: MANY }, (_, index) => index + 1);
      const part = async (range: Parameters<typeof streamOf>[2]): Promise<readonly unknown[]> =>
        numbers(await streamOf(events, 's', range));
      assert.deepEqual(await part(undefined), counted);
      assert.deepEqual(await part({ direction: 'backward' }), counted.toReversed());
      assert.deepEqual(await part({ from: 2_499 }), [2_499, 2_500]);
      assert.deepEqual(await part({ from: 3, to: 5 }), [3, 4, 5]);
      assert.deepEqual(await part({ from: 3, to: 5, direction: 'backward' }), [5, 4, 3]);
      assert.deepEqual(await part({ limit: 2 }), [1, 2]);
      assert.deepEqual(await part({ limit: 2, direction: 'backward' }), [2_500, 2_499]);
      assert.deepEqual((await part({ from: 10, limit: 1_500 })).length, 1_500);
      assert.deepEqual(await part({ from: 2_501 }), []);
      assert.deepEqual(await part({ from: 5, to: 4 }), []);
    },
  },
  {
    id: 'EV-041',
    policy: 'knows nothing of a stream that nobody appended to',
    run: async ({ events }) => {
      await events.append('order-1', some(1));
      assert.deepEqual(await streamOf(events, 'order-10'), []);
      assert.equal(await events.version('order-10'), 0);
      assert.equal(await events.find('nobody'), undefined);
    },
  },
  {
    id: 'EV-042',
    policy: 'reads any part of the order of all events',
    run: async ({ events }) => {
      for (let at = 0; at < MANY; at += 500)
        await events.appendMany([
          { stream: `s-${at}`, events: some(250, at + 1) },
          { stream: 't', events: some(250, at + 251) },
        ]);
      const part = async (range: Parameters<typeof allOf>[1]): Promise<readonly unknown[]> =>
        numbers(await allOf(events, range));
      assert.deepEqual(
        await part(undefined),
        Array.from({ length: MANY }, (_, index) => index + 1),
      );
      assert.deepEqual(await part({ after: 2_498 }), [2_499, 2_500]);
      assert.deepEqual(await part({ after: 3, upTo: 5 }), [4, 5]);
      assert.deepEqual(await part({ after: 3, limit: 1 }), [4]);
      assert.equal((await part({ after: 3, limit: 1_800 })).length, 1_800);
      assert.deepEqual(await part({ after: 2_500 }), []);
    },
  },
  {
    id: 'EV-043',
    policy: 'reads by type and by tag, in order',
    run: async ({ events }) => {
      await events.append('s', [
        event(1, { type: 'A', tags: ['x', 'y'] }),
        event(2, { type: 'B', tags: ['y'] }),
        event(3, { type: 'A' }),
        event(4, { type: 'C', tags: ['z'] }),
      ]);
      const part = async (range: Parameters<typeof allOf>[1]): Promise<readonly unknown[]> =>
        numbers(await allOf(events, range));
      assert.deepEqual(await part({ types: ['A'] }), [1, 3]);
      assert.deepEqual(await part({ types: ['A', 'C'], after: 1 }), [3, 4]);
      assert.deepEqual(await part({ tags: ['y'] }), [1, 2]);
      assert.deepEqual(await part({ tags: ['x', 'z'] }), [1, 4]);
      assert.deepEqual(await part({ tags: ['y'], types: ['B'] }), [2]);
      assert.deepEqual(await part({ types: ['A'], limit: 1 }), [1]);
      assert.deepEqual(await part({ types: ['nothing'] }), []);
    },
  },
  {
    id: 'EV-044',
    policy: 'finds an event by its id',
    run: async ({ events }) => {
      const { ids } = await events.append('s', [event(1, { id: 'mine' }), event(2)]);
      assert.equal((await events.find('mine'))?.version, 1);
      assert.equal((await events.find(ids[1] ?? ''))?.version, 2);
    },
  },
  {
    id: 'EV-045',
    policy: 'lists streams in byte order, by prefix and from a name on',
    run: async ({ events }) => {
      const names = ['b', 'a-1', 'a-2', 'A', '\u{1F600}', '\uffff', 'a%', 'a_b'];
      for (const name of names) await events.append(name, some(1));
      const ordered = ['A', 'a%', 'a-1', 'a-2', 'a_b', 'b', '\uffff', '\u{1F600}'];
      assert.deepEqual(await events.streams(), ordered);
      assert.deepEqual(await events.streams({ prefix: 'a-' }), ['a-1', 'a-2']);
      assert.deepEqual(await events.streams({ prefix: 'a', after: 'a-1', limit: 1 }), ['a-2']);
      assert.deepEqual(await events.streams({ prefix: 'a%' }), ['a%']);
      assert.deepEqual(await events.streams({ limit: 2 }), ['A', 'a%']);
    },
  },
  {
    id: 'EV-046',
    policy: 'follows from the past into the present without a gap or a double',
    run: async (subject) => {
      const { events } = subject;
      const other = await subject.another();
      await events.append('s', some(100));
      const ending = new AbortController();
      const seen: StoredEvent[] = [];
      const following = (async () => {
        for await (const page of events.follow({ after: 10, signal: ending.signal })) {
          seen.push(...page.events);
          if (page.through >= 200) ending.abort();
        }
      })();
      for (let n = 101; n <= 200; n += 2) {
        await events.append('s', [event(n)]);
        await other.append('s', [event(n + 1)]);
      }
      await following;
      assert.deepEqual(
        seen.map(({ position }) => position),
        Array.from({ length: 190 }, (_, index) => index + 11),
      );
      assert.deepEqual(
        numbers(seen),
        Array.from({ length: 190 }, (_, index) => index + 11),
      );
    },
  },
  {
    id: 'EV-047',
    policy: 'follows some types only, and says how far it has looked',
    run: async ({ events }) => {
      const ending = new AbortController();
      const seen: number[] = [];
      await events.append('s', [event(1, { type: 'A' }), event(2), event(3, { type: 'A' })]);
      await events.append('s', some(3));
      for await (const page of events.follow({ types: ['A'], signal: ending.signal })) {
        seen.push(...page.events.map(({ version }) => version));
        if (page.through === 6) ending.abort();
      }
      assert.deepEqual(seen, [1, 3]);
    },
  },
];
