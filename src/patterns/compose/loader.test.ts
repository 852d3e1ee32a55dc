import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { evidenceOf, noEvidence } from '../../core/evidence.ts';
import { virtualClock } from '../../faults/virtual-clock.ts';
import { addEvidence, currentEvidence, runInContext, withEvidence } from '../../runtime/context.ts';
import { withDeadline } from '../../runtime/budget.ts';
import { gather } from './gather.ts';
import { guard } from './guard.ts';
import { loader, type LoaderOptions } from './loader.ts';
import { optional } from './part.ts';

const users = guard('users', { breaker: 'off' });

/** A loader of doubles, and the batches it was asked for. */
function doubles(options: LoaderOptions<number> = {}) {
  const batches: number[][] = [];
  const load = loader<number, number>(
    users,
    async (keys) => {
      batches.push([...keys]);
      await Promise.resolve();
      return new Map(keys.map((key) => [key, key < 0 ? new Error(`no ${key}`) : key * 2]));
    },
    options,
  );
  return { load, batches };
}

const request = <Result>(work: () => Result): Result => runInContext(noEvidence, work);

test('loads of one turn are one batch, each key once, in the order of the keys', async () => {
  const { load, batches } = doubles();
  const values = await request(() => Promise.all([3, 1, 3, 2].map((key) => load.load(key))));
  expect(values).toEqual([6, 2, 6, 4]);
  expect(batches).toEqual([[3, 1, 2]]);
});

test('loads that are set off by different awaits of one turn are one batch', async () => {
  const { load, batches } = doubles();
  const later = async (key: number, steps: number): Promise<number | undefined> => {
    for (let step = 0; step < steps; step++) await Promise.resolve();
    if (steps > 5) await new Promise((resolve) => process.nextTick(resolve));
    return await load.load(key);
  };
  await request(() => Promise.all([later(1, 0), later(2, 3), later(3, 10)]));
  expect(batches).toEqual([[1, 2, 3]]);
});

test('a request remembers what it loaded; another does not, nor is there one batch for two', async () => {
  const { load, batches } = doubles();
  await request(async () => {
    await load.load(1);
    await load.load(1);
    load.clear(1);
    await load.load(1);
    load.prime(9, 5);
    expect(await load.load(9)).toBe(5);
  });
  await Promise.all([request(() => load.load(1)), request(() => load.load(1))]);
  expect(batches).toEqual([[1], [1], [1], [1]]);
});

test('what was loaded before a write of the request is loaded again after it', async () => {
  const at = evidenceOf([['orders', { epoch: 1, offset: 5 }]]);
  const asked: boolean[] = [];
  const load = loader<number, number>(users, (keys) => {
    asked.push(currentEvidence().size > 0);
    return new Map(keys.map((key) => [key, key]));
  });
  await request(async () => {
    await load.load(1);
    addEvidence(at);
    await load.load(1);
    await load.load(1);
    await withEvidence(evidenceOf([['stock', { epoch: 1, offset: 1 }]]), () => load.load(1));
  });
  expect(asked).toEqual([false, true, true]);
});

test('a batch is asked with the evidence of all that are in it', async () => {
  let needed = noEvidence;
  const load = loader<number, number>(users, (keys) => {
    needed = currentEvidence();
    return new Map(keys.map((key) => [key, key]));
  });
  const given = (lane: string, key: number) =>
    withEvidence(evidenceOf([[lane, { epoch: 1, offset: key }]]), () => load.load(key));
  await request(() => Promise.all([given('orders', 1), given('stock', 2)]));
  expect([...needed.keys()]).toEqual(['orders', 'stock']);
});

test('more keys than a batch takes are several batches side by side', async () => {
  const { load, batches } = doubles({ keysMax: 3 });
  const values = await request(() => load.loadMany([1, 2, 3, 4, 5, 6, 7]));
  expect(values).toEqual([2, 4, 6, 8, 10, 12, 14]);
  expect(batches).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
});

test('one key may fail without the others, and is loaded again when asked again', async () => {
  const { load, batches } = doubles();
  await request(async () => {
    const settled = await load.loadSettled([1, -1, 2]);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await expect(load.load(-1)).rejects.toThrow('no -1');
  });
  expect(batches).toEqual([[1, -1, 2], [-1]]);
});

test('a batch that fails fails its keys, and nothing is remembered', async () => {
  let down = true;
  const load = loader<number, number>(
    users,
    (keys) => {
      if (down) throw new Error('down');
      return keys.map((key) => key);
    },
    { idempotent: false },
  );
  await request(async () => {
    const settled = await load.loadSettled([1, 2]);
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    down = false;
    expect(await load.load(1)).toBe(1);
  });
});

test.each([
  ['a list that is too short', () => [1]],
  ['nothing', () => undefined],
  ['an object', () => ({ 1: 1 })],
])('%s is no answer', async (_name, answer) => {
  const load = loader<number, number>(users, answer as never);
  const settled = await request(() => load.loadSettled([1, 2]));
  for (const one of settled)
    expect(one).toMatchObject({ status: 'rejected', reason: { code: 'BATCH_INVALID' } });
});

test('outside of a request nothing is remembered, and loads still become batches', async () => {
  const { load, batches } = doubles();
  await Promise.all([load.load(1), load.load(2), load.load(1)]);
  await load.load(1);
  expect(batches).toEqual([[1, 2], [1]]);
});

test('a batch has the time of the load that may wait longest', async () => {
  const clock = virtualClock();
  const store = guard('slow', { clock });
  const load = loader<number, number>(
    store,
    async (keys) => {
      await clock.sleep(50);
      return new Map(keys.map((key) => [key, key]));
    },
    { clock },
  );
  const both = request(() =>
    Promise.allSettled([
      withDeadline(10, () => store.run(() => load.load(1)), { clock }),
      withDeadline(100, () => store.run(() => load.load(2)), { clock }),
    ]),
  );
  await clock.advance(1_000);
  const [hurried, patient] = await both;
  expect(hurried).toMatchObject({ reason: { code: 'DEADLINE_EXCEEDED' } });
  expect(patient).toMatchObject({ value: 2 });
});

test('how fresh a batch was is how fresh the parts are that it went into', async () => {
  const load = loader<number, number>(users, (keys, { take }) =>
    take({
      value: new Map(keys.map((key) => [key, key])),
      freshness: { kind: 'stale', by: [] },
    }),
  );
  const part = (key: number) =>
    optional(async ({ take }) => {
      take({ value: 0, freshness: { kind: 'fresh' } });
      return await load.load(key);
    });
  const page = await request(() => gather({ first: part(1), second: part(2) }, { within: '1s' }));
  expect(page.parts.first).toMatchObject({ kind: 'value', freshness: { kind: 'stale' } });
  expect(page.parts.second).toMatchObject({ kind: 'value', freshness: { kind: 'stale' } });
});

test('keys that are objects need a name', async () => {
  const key = { tenant: 'a', id: 1 };
  const batch = (keys: readonly (typeof key)[]) => keys.map(({ id }) => id);
  expect(() => loader(users, batch).load(key)).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  );
  const named = loader(users, batch, { keyOf: ({ tenant, id }) => `${tenant}/${id}` });
  expect(await Promise.all([named.load(key), named.load({ ...key })])).toEqual([1, 1]);
});

test('whatever is loaded in whatever order, each gets its own value, and no batch is over its limit', async () => {
  const step = fc.record({ key: fc.integer({ min: -3, max: 20 }), ticks: fc.nat(3) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 7 }),
      async (steps, keysMax) => {
        const { load, batches } = doubles({ keysMax });
        await request(() =>
          Promise.all(
            steps.map(async ({ key, ticks }) => {
              for (let tick = 0; tick < ticks; tick++) await new Promise(setImmediate);
              const [result] = await load.loadSettled([key]);
              if (key < 0) expect(result?.status).toBe('rejected');
              else expect(result).toEqual({ status: 'fulfilled', value: key * 2 });
            }),
          ),
        );
        expect(batches.every((keys) => keys.length <= keysMax)).toBe(true);
        const good = batches.flat().filter((key) => key >= 0);
        expect(new Set(good).size).toBe(good.length);
      },
    ),
    { numRuns: 60 },
  );
});

test.each([
  [{ keysMax: 0 }, 'CONFIG_INVALID'],
  [{ collect: 'later' }, 'CONFIG_INVALID'],
  [{ priority: 'high' }, 'CONFIG_INVALID'],
  [{ maxBatchSize: 5 }, 'CONFIG_UNKNOWN_OPTION'],
])('refuses %j with %s', (options, code) => {
  expect(() => loader(users, () => [], options as LoaderOptions<unknown>)).toThrow(
    expect.objectContaining({ code }),
  );
  expect(() => loader(users, [] as never)).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  );
});
