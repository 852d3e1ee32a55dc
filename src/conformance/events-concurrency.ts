import assert from 'node:assert/strict';
import { isTallyError } from '../core/errors.ts';
import type { Appended, EventStore, StoredEvent } from '../ports/events.ts';
import { assertDense, event, numbers, some, streamOf, type EventsCase } from './events-harness.ts';

/** Callers at the same time: as many as share commits in a busy process. */
const CALLERS = 64;

/** What has to hold when many append at once, from one process and from several. */
export const eventConcurrencyCases: readonly EventsCase[] = [
  {
    id: 'EV-030',
    policy: 'lets one of many win that all expect the same version',
    run: async (subject) => {
      const stores = [subject.events, await subject.another()];
      const outcomes = await Promise.allSettled(
        Array.from({ length: CALLERS }, (_, caller) =>
          storeOf(stores, caller).append('s', [event(caller)], { expected: 'none' }),
        ),
      );
      const won = outcomes.filter(({ status }) => status === 'fulfilled');
      assert.equal(won.length, 1);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') {
          assert.ok(isTallyError(outcome.reason, 'STREAM_CONFLICT'), String(outcome.reason));
          assert.equal(outcome.reason.details['actual'], 1);
        }
      assert.equal((await assertDense(subject.events)).length, 1);
    },
  },
  {
    id: 'EV-031',
    policy: 'takes every append that expects nothing, each as one run of its stream',
    run: async (subject) => {
      const stores = [subject.events, await subject.another()];
      const done = await Promise.all(
        Array.from({ length: CALLERS }, (_, caller) =>
          storeOf(stores, caller).append('s', [event(caller), event(caller)]),
        ),
      );
      const all = await assertDense(subject.events);
      assert.equal(all.length, 2 * CALLERS);
      for (const [caller, { firstVersion, version, position }] of done.entries()) {
        assert.equal(version, firstVersion + 1);
        assert.deepEqual(numbers(all.slice(firstVersion - 1, version)), [caller, caller]);
        assert.equal(all[version - 1]?.position, position);
      }
    },
  },
  {
    id: 'EV-032',
    policy: 'fails nobody else for the conflict of one',
    run: async ({ events }) => {
      await events.append('taken', some(1));
      const outcomes = await Promise.allSettled(
        Array.from({ length: CALLERS }, (_, caller) =>
          caller % 3 === 0
            ? events.append('taken', [event(caller)], { expected: 7 })
            : events.append(`free-${caller}`, [event(caller)], { expected: 'none' }),
        ),
      );
      for (const [caller, { status }] of outcomes.entries())
        assert.equal(status, caller % 3 === 0 ? 'rejected' : 'fulfilled', `caller ${caller}`);
      assert.equal(await events.version('taken'), 1);
      await assertDense(events);
    },
  },
  {
    id: 'EV-033',
    policy: 'keeps one event where many append the same id at once',
    run: async (subject) => {
      const stores = [subject.events, await subject.another()];
      const done = await Promise.all(
        Array.from({ length: 16 }, (_, caller) =>
          storeOf(stores, caller).append('s', [event(1, { id: 'same' })]),
        ),
      );
      assert.equal(done.filter(({ repeated }) => !repeated).length, 1);
      assert.deepEqual(new Set(done.map(({ version }) => version)), new Set([1]));
      assert.equal((await assertDense(subject.events)).length, 1);
    },
  },
  {
    id: 'EV-034',
    policy: 'gives every writer its turn who reads, decides and appends again after a conflict',
    run: async (subject) => {
      const stores = [subject.events, await subject.another()];
      await Promise.all(
        Array.from({ length: 12 }, async (_, writer) => {
          for (let n = 0; n < 4; n += 1) await insist(storeOf(stores, writer), writer * 10 + n);
        }),
      );
      const all = await assertDense(subject.events);
      assert.equal(all.length, 48);
      assert.equal(new Set(numbers(all)).size, 48, 'each number once');
    },
  },
  {
    id: 'EV-035',
    policy:
      'shows a reader who remembers one position everything once, in the order of each stream',
    run: async (subject) => {
      const { events: reader } = subject;
      const writers = [await subject.another(), await subject.another()];
      let done = false;
      const writing = Promise.all(
        Array.from({ length: 16 }, async (_, writer) => {
          for (let n = 1; n <= 10; n += 1)
            await storeOf(writers, writer).append(`s-${(writer + n) % 7}`, [event(writer)]);
        }),
      ).finally(() => {
        done = true;
      });
      const seen: StoredEvent[] = [];
      let after = 0;
      for (let last = false; !last;) {
        last = done;
        for await (const page of reader.readAll({ after })) {
          seen.push(...page.events);
          after = page.through;
        }
      }
      await writing;
      assert.equal(seen.length, 160, 'nothing is missed');
      assert.deepEqual(
        seen.map(({ position }) => position),
        Array.from({ length: 160 }, (_, index) => index + 1),
      );
      await assertDense(reader);
    },
  },
  {
    id: 'EV-036',
    policy: 'has at its head whatever was answered before, whoever appended it',
    run: async (subject) => {
      const other = await subject.another();
      for (let n = 1; n <= 5; n += 1) {
        const { position } = await subject.events.append('s', [event(n)]);
        assert.ok((await other.head()) >= position);
        assert.equal(await other.version('s'), n);
        assert.equal((await streamOf(other, 's')).length, n);
      }
    },
  },
];

function storeOf(stores: readonly EventStore[], caller: number): EventStore {
  const store = stores[caller % stores.length];
  assert.ok(store !== undefined);
  return store;
}

async function insist(events: EventStore, n: number): Promise<Appended> {
  for (;;) {
    const expected = await events.version('shared');
    try {
      const appended = await events.append('shared', [event(n)], { expected });
      assert.equal(appended.firstVersion, expected + 1, 'it is where it was expected to be');
      return appended;
    } catch (error) {
      if (!isTallyError(error, 'STREAM_CONFLICT')) throw error;
      assert.ok(Number(error.details['actual']) > expected, 'somebody else has gone on');
    }
  }
}
