import { expect, test } from 'vitest';
import { TallyError } from '../core/errors.ts';
import { virtualClock } from '../faults/virtual-clock.ts';
import type { Source, SourceCursor } from '../ports/source.ts';
import { takeLease } from '../runtime/lease.ts';
import { createMemoryState, memoryLedger } from '../stores/memory/index.ts';
import { Acknowledger, confirmedCursor } from './acknowledger.ts';

async function table(acknowledge?: (cursor: SourceCursor) => Promise<void>) {
  const clock = virtualClock();
  const ledger = memoryLedger({ state: createMemoryState() });
  const told: number[] = [];
  const failures: unknown[] = [];
  const source = {
    acknowledge: async (cursor: SourceCursor) => {
      // The ledger is told first: a log that comes back shorter than this is noticed.
      expect((await confirmedCursor(ledger, 'orders'))?.offset).toBe(cursor.offset);
      await acknowledge?.(cursor);
      told.push(cursor.offset);
    },
  } as Partial<Source<unknown>> as Source<unknown>;
  const take = (owner: string) =>
    takeLease({
      ledger,
      clock,
      lease: 'capture/orders',
      owner,
      isDead: () => true,
      signal: new AbortController().signal,
    });
  const lease = await take('one');
  const acknowledger = new Acknowledger({
    lane: 'orders',
    source,
    ledger,
    clock,
    lease,
    epoch: 1,
    onFailure: (error) => failures.push(error),
  });
  const note = (offset: number): void => acknowledger.note({ offset, token: `t${offset}` });
  return { clock, ledger, told, failures, acknowledger, note, take };
}

test('the source is told a few times a second, and then of the newest', async () => {
  const { clock, told, note, ledger } = await table();
  note(1);
  note(2);
  expect(told).toEqual([]);
  await clock.advance(250);
  expect(told).toEqual([2]);
  note(3);
  await clock.advance(249);
  note(4);
  await clock.advance(1);
  expect(told).toEqual([2, 4]);
  expect(await confirmedCursor(ledger, 'orders')).toEqual({ epoch: 1, offset: 4 });
});

test('one that is slow is waited for: the ledger never goes back', async () => {
  const gate = Promise.withResolvers<void>();
  const { clock, told, note } = await table(({ offset }) =>
    offset === 1 ? gate.promise : Promise.resolve(),
  );
  note(1);
  await clock.advance(250);
  note(2);
  await clock.advance(250);
  expect(told).toEqual([]);
  gate.resolve();
  await clock.advance(1);
  expect(told).toEqual([1, 2]);
});

test('what was noted last is acknowledged at the end', async () => {
  const { clock, told, note, acknowledger } = await table();
  note(7);
  await acknowledger[Symbol.asyncDispose]();
  expect(told).toEqual([7]);
  expect(clock.timers).toBe(2);
});

test('one that failed is told once, thrown at the next look, and nothing follows it', async () => {
  const { clock, told, failures, note, acknowledger } = await table(() =>
    Promise.reject(new TallyError('STORE_BUSY', { what: 'locked' })),
  );
  note(1);
  await clock.advance(250);
  expect(failures).toMatchObject([{ code: 'STORE_BUSY' }]);
  expect(() => acknowledger.check()).toThrow(expect.objectContaining({ code: 'STORE_BUSY' }));
  note(2);
  await clock.advance(1_000);
  expect(told).toEqual([]);
  expect(failures).toHaveLength(1);
});

test('a worker that lost its lease tells the source nothing', async () => {
  const { clock, told, failures, note, take } = await table();
  await take('two');
  note(1);
  await clock.advance(250);
  expect(told).toEqual([]);
  expect(failures).toMatchObject([{ code: 'FENCED_OUT' }]);
});
