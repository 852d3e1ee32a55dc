import { AsyncLocalStorage } from 'node:async_hooks';
import { expect, expectTypeOf, test } from 'vitest';
import { evidenceOf } from '../../core/evidence.ts';
import { isTallyError } from '../../core/errors.ts';
import { virtualClock, type VirtualClock } from '../../faults/virtual-clock.ts';
import { withEvidence } from '../../runtime/context.ts';
import { withDeadline } from '../../runtime/budget.ts';
import { memory } from '../../stores/memory/index.ts';
import { systemRandom } from '../../runtime/random.ts';
import { fallback, lastGood, lastGoodIn } from './fallback.ts';
import { gather, type Gathered, type GatherOptions } from './gather.ts';
import { guard } from './guard.ts';
import { optional, required, type Parts } from './part.ts';

async function within<Page extends Parts>(
  clock: VirtualClock,
  page: Page,
  options: Partial<GatherOptions> = {},
): Promise<Gathered<Page>> {
  const gathered = gather(page, { within: '150ms', clock, ...options });
  gathered.catch(() => undefined);
  await clock.advance(5_000);
  return await gathered;
}

const never = (): Promise<never> => new Promise(() => undefined);

test('all parts start at once, and the page is as fast as its slowest', async () => {
  const clock = virtualClock();
  const started: number[] = [];
  const part = (ms: number) =>
    required(async () => {
      started.push(clock.elapsedMs);
      await clock.sleep(ms);
      return ms;
    });
  const page = await within(clock, { first: part(10), second: part(40), third: part(20) });
  expect(started).toEqual([0, 0, 0]);
  expect(page).toMatchObject({
    kind: 'whole',
    tookMs: 40,
    values: { first: 10, second: 40, third: 20 },
    parts: { first: { kind: 'value', tookMs: 10, freshness: { kind: 'unknown' } } },
  });
  expectTypeOf(page.values.first).toEqualTypeOf<number>();
});

test('a part that hangs costs its own deadline, and what it falls back on says why', async () => {
  const clock = virtualClock();
  const page = await within(clock, {
    user: required(() => 'Ada'),
    history: optional(() => never(), ['nothing'] as never, { within: '30ms' }),
    extra: optional(async () => {
      throw new Error('down');
    }),
  });
  expect(page).toMatchObject({
    kind: 'partial',
    tookMs: 30,
    values: { user: 'Ada', history: ['nothing'], extra: undefined },
    parts: {
      history: { kind: 'fallback', reason: { kind: 'deadline' } },
      extra: { kind: 'missing', reason: { kind: 'failed', error: { message: 'down' } } },
    },
  });
  expect(clock.timers).toBe(0);
});

test('a required part that is not to be had ends the page at once, and the others are aborted', async () => {
  const clock = virtualClock();
  let aborted = -1;
  const error = await within(clock, {
    user: required(async () => {
      await clock.sleep(10);
      throw new Error('no connection');
    }),
    slow: optional(({ signal }) => {
      signal.addEventListener('abort', () => (aborted = clock.elapsedMs));
      return never();
    }),
  }).catch((thrown: unknown) => thrown);
  expect(isTallyError(error, 'PART_MISSING')).toBe(true);
  expect(error).toMatchObject({
    retryable: true,
    details: { part: 'user', reason: 'failed' },
    cause: { message: 'no connection' },
  });
  expect(aborted).toBe(10);
  expect(clock.timers).toBe(0);
});

test('a part starts as soon as what it needs is there, and what several need is read once', async () => {
  const clock = virtualClock();
  let reads = 0;
  const user = required(async () => {
    reads += 1;
    await clock.sleep(10);
    return { id: 7 };
  });
  const orders = required(
    async ({ needs }) => {
      expectTypeOf(needs.user).toEqualTypeOf<{ id: number }>();
      await clock.sleep(20);
      return needs.user.id * 10;
    },
    { needs: { user } },
  );
  const page = await within(clock, {
    slow: optional(() => clock.sleep(100)),
    offers: optional(({ needs }) => needs.orders + needs.user.id, 0, { needs: { orders, user } }),
  });
  expect(page.values.offers).toBe(77);
  expect(page.parts.offers.tookMs).toBe(30);
  expect(reads).toBe(1);
});

test('what needs a missing part is not read, and says what it lacks', async () => {
  const clock = virtualClock();
  const user = optional(() => Promise.reject<string>(new Error('gone')));
  const page = await within(clock, {
    orders: optional(({ needs }) => [needs.user], [] as string[], { needs: { user } }),
    name: optional(({ needs }) => needs.user, undefined, { needs: { user } }),
  });
  expect(page.parts.orders).toMatchObject({ kind: 'fallback', reason: { kind: 'needs' } });
  expect(page.parts.name).toMatchObject({ kind: 'missing', reason: { kind: 'needs' } });
  expectTypeOf(page.values.name).toEqualTypeOf<string | undefined>();
});

test('what a part falls back on is handed to those that need it', async () => {
  const clock = virtualClock();
  const prices = optional(() => Promise.reject<number>(new Error('down')), 5);
  const page = await within(clock, {
    total: required(({ needs }) => needs.prices * 2, { needs: { prices } }),
  });
  expect(page.values.total).toBe(10);
});

test('a page has no more time than its caller has left', async () => {
  const clock = virtualClock();
  const page = withDeadline(
    40,
    () => gather({ slow: optional(never, 'none' as never) }, { within: '150ms', clock }),
    { clock },
  );
  await clock.advance(100);
  expect((await page).tookMs).toBe(40);
});

test('the abort of the caller ends the page, and leaves no timer or listener', async () => {
  const clock = virtualClock();
  const controller = new AbortController();
  const page = gather(
    { slow: optional(never, 'none' as never) },
    { within: '150ms', clock, signal: controller.signal },
  ).catch((error: unknown) => error);
  await clock.advance(5);
  controller.abort();
  expect(isTallyError(await page, 'ABORTED')).toBe(true);
  await clock.advance(200);
  expect(clock.timers).toBe(0);
  await expect(
    gather({ one: required(() => 1) }, { within: 1, signal: controller.signal }),
  ).rejects.toMatchObject({ code: 'ABORTED' });
});

test('falls back on what was there last, and says how old it is', async () => {
  const clock = virtualClock();
  const recent = lastGood<string>({ clock, maxAge: '1m', entriesMax: 2 });
  let down = false;
  const offers = (id: string) =>
    optional(
      () => (down ? Promise.reject<string>(new Error('down')) : `offers of ${id}`),
      recent.of(id),
    );
  await within(clock, { offers: offers('ada') });
  down = true;
  const page = await within(clock, { offers: offers('ada'), other: offers('bob') });
  expect(page.parts.offers).toMatchObject({
    kind: 'fallback',
    value: 'offers of ada',
    ageMs: 5_000,
  });
  expect(page.parts.other.kind).toBe('missing');
  await clock.advance(60_000);
  expect((await within(clock, { offers: offers('ada') })).parts.offers.kind).toBe('missing');
  down = false;
  for (const id of ['a', 'b', 'c']) await within(clock, { offers: offers(id) });
  expect(recent.size).toBe(2);
});

test('a fallback in another store is fetched within the page, and lost with it', async () => {
  const clock = virtualClock();
  await using store = await memory().open({ name: 'cache', clock, random: systemRandom });
  const kept = lastGoodIn(store.keyValue, { prefix: 'page/', maxAge: '1h', clock });
  let down = false;
  const part = () => optional<string>(() => (down ? never() : 'good'), kept.of<string>('ada'));
  await within(clock, { part: part() });
  down = true;
  const page = await within(clock, { part: part() });
  expect(page.parts.part).toMatchObject({ kind: 'fallback', value: 'good' });
  // A tenth of the page's time is kept for it.
  expect(page.tookMs).toBe(135);
  const hung = fallback<string>({ takesTime: true, recall: () => never() });
  const lost = await within(clock, { part: optional<string>(() => never(), hung) });
  expect(lost).toMatchObject({ tookMs: 150, parts: { part: { kind: 'missing' } } });
});

test('a fallback that throws is none, and the reason is that of the part', async () => {
  const clock = virtualClock();
  const page = await within(clock, {
    part: optional(
      () => Promise.reject<string>(new Error('first')),
      ({ error }) => {
        throw new Error(`second after ${error.message}`);
      },
    ),
    other: optional(
      () => Promise.reject<string>(new Error('first')),
      async ({ kind }) => kind,
    ),
  });
  expect(page.parts.part).toMatchObject({
    kind: 'missing',
    reason: { error: { message: 'first' } },
  });
  expect(page.values.other).toBe('failed');
});

test('says how fresh each part is by evidence, the worst of what it took', async () => {
  const clock = virtualClock();
  const at5 = evidenceOf([['orders', { epoch: 1, offset: 5 }]]);
  const at9 = evidenceOf([['orders', { epoch: 1, offset: 9 }]]);
  const recent = lastGood<string>({ clock });
  let down = false;
  const page = () =>
    within(clock, {
      search: optional(({ take }) => {
        if (down) throw new Error('down');
        take({ value: 1, freshness: { kind: 'fresh' } });
        return take({ value: 'hit', freshness: { kind: 'fresh' } });
      }, recent.of('x')),
      stock: optional(({ take }) => {
        take({ value: 1, freshness: { kind: 'stale', by: [] } });
        return take({ value: 2, freshness: { kind: 'fresh' } });
      }),
    });
  const before = await withEvidence(at5, page);
  expect(before.parts.search).toMatchObject({ freshness: { kind: 'fresh' } });
  expect(before.parts.stock).toMatchObject({ freshness: { kind: 'stale' } });
  down = true;
  // The write at 5 is in what was kept; one at 9 is not.
  expect((await withEvidence(at5, page)).parts.search).toMatchObject({
    kind: 'fallback',
    freshness: { kind: 'fresh' },
  });
  expect((await withEvidence(at9, page)).parts.search).toMatchObject({
    kind: 'fallback',
    freshness: { kind: 'stale' },
  });
});

test('parts and fallbacks run in the context of the page', async () => {
  const clock = virtualClock();
  const who = new AsyncLocalStorage<string>();
  const user = required(() => clock.sleep(10));
  const page = who.run('ada', () =>
    gather(
      {
        needing: required(() => who.getStore(), { needs: { user } }),
        instead: optional(
          () => never(),
          () => who.getStore() as never,
          { within: 5 },
        ),
      },
      { within: '150ms', clock },
    ),
  );
  await clock.advance(200);
  expect((await page).values).toEqual({ needing: 'ada', instead: 'ada' });
});

test('goes through the guard of its store', async () => {
  const clock = virtualClock();
  const store = guard('search', { clock, limit: 1, waitingMax: 0 });
  const page = await within(clock, {
    first: optional(() => clock.sleep(10).then(() => 1), 0, { from: store }),
    second: optional(() => 2, 0, { from: store }),
  });
  expect(page.parts.first.kind).toBe('value');
  expect(page.parts.second).toMatchObject({ kind: 'fallback', reason: { kind: 'shed' } });
  expect(store.stats().calls).toBe(2);
});

test('a value of undefined is a value', async () => {
  const page = await gather({ none: required(() => undefined) }, { within: '1s' });
  expect(page.parts.none).toMatchObject({ kind: 'value', value: undefined });
});

test.each([
  [{ user: 'Ada' }, { within: 5 }, 'CONFIG_INVALID'],
  [{ user: { kind: 'required' } }, { within: 5 }, 'CONFIG_INVALID'],
  [{}, { within: 0 }, 'CONFIG_INVALID'],
  [{}, {}, 'CONFIG_INVALID'],
  [{}, { within: 'soon' }, 'CONFIG_INVALID'],
  [{}, { within: 5, timeout: 5 }, 'CONFIG_UNKNOWN_OPTION'],
  [{}, { within: 5, priority: 'high' }, 'CONFIG_INVALID'],
  [undefined, { within: 5 }, 'CONFIG_INVALID'],
])('refuses the page %j with %j: %s', async (page, options, code) => {
  await expect(gather(page as unknown as Parts, options as GatherOptions)).rejects.toMatchObject({
    code,
  });
});

test('refuses a part that is declared wrongly', () => {
  const wrong = (make: () => unknown) =>
    expect(make).toThrow(expect.objectContaining({ name: 'TallyError' }));
  wrong(() => required('users' as never));
  wrong(() => required(() => 1, { from: {} as never }));
  wrong(() => required(() => 1, { within: -1 }));
  wrong(() => required(() => 1, { timeout: 1 } as never));
  wrong(() => required(() => 1, { needs: { user: 1 } as never }));
});
