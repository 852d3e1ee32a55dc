import { expect, test, vi } from 'vitest';
import { TallyError } from '../core/errors.ts';
import { encodeKey } from '../core/codec.ts';
import { virtualClock } from '../faults/virtual-clock.ts';
import type { LogRecord } from '../ports/log.ts';
import { takeLease } from '../runtime/lease.ts';
import { createMemoryState, memoryLedger } from '../stores/memory/index.ts';
import { put } from './definition.ts';
import {
  forgetEarlier,
  listParked,
  ParkedWork,
  parkedChange,
  targetUnit,
  unitName,
  type ParkedChange,
} from './parked.ts';

const clock = virtualClock();
const reason = new TallyError('PROJECTION_FAILED', { what: 'it threw' });

function change(sku: string, offset: number, error: unknown = reason): ParkedChange {
  const record: LogRecord = {
    kind: 'change',
    epoch: 1,
    offset,
    ordinal: 0,
    payload: `{"t":"products","o":"c","k":["${sku}"],"b":null,"a":{"sku":"${sku}"}}`,
  };
  return parkedChange(
    { by: 'source', table: 'products', key: encodeKey([sku]) },
    record,
    clock,
    error,
  );
}

async function table(parkedMax = 10, generation = 1) {
  const ledger = memoryLedger({ state: createMemoryState() });
  const signal = new AbortController().signal;
  const take = (owner: string) =>
    takeLease({ ledger, clock, lease: 'flow/f', owner, isDead: () => true, signal });
  const { guard } = await take('one');
  const load = (number = generation) =>
    ParkedWork.load({ ledger, clock, flow: 'f', generation: number, parkedMax, guard });
  return { ledger, take, load, parked: await load() };
}

const offsets = (changes: readonly ParkedChange[]) => changes.map(({ offset }) => offset);

test('what is parked is known by its unit, also to the next worker, in the order it happened', async () => {
  const { parked, load } = await table();
  await parked.park([change('b', 3), change('a', 12)]);
  await parked.park([change('a', 4, undefined)]);
  for (const known of [parked, await load()]) {
    expect(known.size).toBe(3);
    expect(known.has('source products ["a"]')).toBe(true);
    expect(known.has('source products ["c"]')).toBe(false);
    expect(offsets(await known.list())).toEqual([3, 4, 12]);
    expect(offsets(await known.list('source products ["a"]'))).toEqual([4, 12]);
  }
});

test('parking the same change again, after a crash, keeps it as it was and counts it once', async () => {
  const { parked, load } = await table(1);
  await parked.park([change('a', 1)]);
  const again = await load();
  await again.park([change('a', 1, undefined)]);
  expect(again.size).toBe(1);
  expect((await again.list())[0]?.error?.code).toBe('PROJECTION_FAILED');
});

test('over its bound nothing of the call is parked, and the error says what to do', async () => {
  const { parked, ledger } = await table(2);
  await parked.park([change('a', 1)]);
  await expect(parked.park([change('b', 2), change('c', 3)])).rejects.toMatchObject({
    code: 'PARKED_FULL',
    message: expect.stringContaining('tally parked APP.ts f'),
  });
  expect(parked.size).toBe(1);
  expect(offsets(await listParked(ledger, 'f'))).toEqual([1]);
  await parked.park([change('b', 2)]);
});

test('what is forgotten is gone, and makes room', async () => {
  const { parked, load } = await table(2);
  await parked.park([change('a', 1), change('a', 2)]);
  await parked.forget(await parked.list());
  await parked.forget([change('z', 9)]);
  expect(parked.size).toBe(0);
  expect(parked.units()).toEqual([]);
  expect((await load()).size).toBe(0);
  await parked.park([change('b', 3), change('b', 4)]);
});

test('a worker that was replaced parks and forgets nothing', async () => {
  const { parked, take, ledger } = await table();
  await parked.park([change('a', 1)]);
  await take('two');
  await expect(parked.park([change('b', 2)])).rejects.toMatchObject({ code: 'FENCED_OUT' });
  await expect(parked.forget(await parked.list())).rejects.toMatchObject({ code: 'FENCED_OUT' });
  expect(parked.size).toBe(1);
  expect(offsets(await listParked(ledger, 'f'))).toEqual([1]);
});

test('generations park apart, and a switch forgets what the earlier ones had', async () => {
  const { ledger, parked, load } = await table();
  await parked.park([change('a', 1)]);
  const next = await load(2);
  expect(next.size).toBe(0);
  await next.park([change('b', 2)]);
  expect(offsets(await listParked(ledger, 'f', 1))).toEqual([1]);
  await forgetEarlier(ledger, 'f', 2);
  expect(offsets(await listParked(ledger, 'f'))).toEqual([2]);
});

test('a unit with a key of any length has a name of its own that a ledger takes', async () => {
  const { parked } = await table();
  const long = (end: string) => change(`${'k'.repeat(10_000)}${end}`, 1);
  await parked.park([long('a'), { ...long('b'), offset: 2 }]);
  const names = parked.units().filter((unit) => unit.startsWith('source'));
  expect(new Set(names).size).toBe(2);
  for (const name of names) {
    expect(name.length).toBeLessThan(200);
    expect(await parked.list(name)).toHaveLength(1);
  }
});

test('a refused row that has no text is parked without it, not a failure of the flow', () => {
  const record: LogRecord = { kind: 'change', epoch: 1, offset: 1, ordinal: 0, payload: '{}' };
  const dated = put('documents', ['a'], { at: new Date(0) } as never);
  const parked = parkedChange(targetUnit(dated), record, clock, reason, dated);
  expect(parked).not.toHaveProperty('put');
  expect(unitName(parked.unit)).toBe('target documents ["a"]');
  const plain = put('documents', ['a'], { at: 1n });
  expect(parkedChange(targetUnit(plain), record, clock, 'a text', plain)).toMatchObject({
    put: '{"target":"documents","key":["a"],"row":{"at":{"$i":"1"}}}',
    error: { code: 'INTERNAL', message: 'a text' },
  });
});

test('a change that is too large for the ledger stops the flow by name, and nothing of it is taken for parked', async () => {
  const { ledger, parked } = await table();
  const full = new TallyError('ROW_TOO_LARGE', { what: 'a value is over its limit' });
  const commit = vi.spyOn(ledger, 'commit').mockRejectedValueOnce(full);
  await expect(parked.park([change('a', 1)])).rejects.toMatchObject({
    code: 'ROW_TOO_LARGE',
    message: expect.stringContaining('flow f'),
    cause: full,
  });
  expect(commit).toHaveBeenCalledTimes(1);
  expect(parked.size).toBe(0);
});
