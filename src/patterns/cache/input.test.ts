import { describe, expect, test } from 'vitest';
import type { TallyError } from '../../core/errors.ts';
import { virtualClock } from '../../faults/virtual-clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { memory } from '../../stores/memory/index.ts';
import { cache, loaded, type Cache, type CacheHappening, type CacheOptions } from './index.ts';

async function opened(
  kind: 'near' | 'shared' | 'both',
  more: Partial<CacheOptions<unknown, unknown>>,
) {
  const clock = virtualClock();
  const random = seededRandom(3);
  const store = await memory().open({ name: 'cache', clock, random });
  const events: CacheHappening[] = [];
  const things = await cache<unknown, unknown>({
    name: 'things',
    ...(kind === 'near' ? {} : { store }),
    ...(kind === 'both' ? { near: {} } : {}),
    ttl: '10s',
    clock,
    random,
    load: (key) => `of ${String(key)}`,
    onEvent: (event) => events.push(event),
    ...more,
  });
  return {
    things,
    clock,
    events,
    async [Symbol.asyncDispose]() {
      await things.close();
      await store.close();
    },
  };
}

/** The code that each way to name a key is refused with. None may throw before it has returned a promise. */
async function refusals(
  things: Cache<unknown, unknown>,
  key: unknown,
): Promise<readonly unknown[]> {
  let runs = 0;
  const write = (): void => {
    runs += 1;
  };
  const calls: readonly Promise<unknown>[] = [
    things.get(key),
    things.read(key),
    things.get(key, { after: new Map([['x', [{ epoch: 1, offset: 1 }]]]) }),
    things.getMany(['fine', key]),
    things.set(key, 'x'),
    things.delete(['fine', key]),
    things.expire(['fine', key]),
    things.write(['fine', key], write),
  ];
  const answers = await Promise.allSettled(calls);
  expect(runs, 'a write was run whose invalidation is refused').toBe(0);
  return answers.map((answer) =>
    answer.status === 'rejected' ? (answer.reason as TallyError).code : answer.value,
  );
}

describe.each(['near', 'shared', 'both'] as const)('bad input of a cache (%s)', (kind) => {
  test('keys with spaces, line ends, control characters and other scripts are keys like others', async () => {
    await using at = await opened(kind, {});
    const keys = [
      ' ',
      'a b',
      'a\nb',
      'a\r\nb',
      '\u0000',
      '\u0001x',
      'x\u0001y',
      '\u007f',
      '鍵',
      '🔑',
    ];
    for (const key of keys) expect(await at.things.get(key)).toBe(`of ${key}`);
    const { loads } = at.things.stats();
    expect(loads).toBe(keys.length);
    expect(await at.things.getMany(keys)).toEqual(keys.map((key) => `of ${key}`));
    expect(at.things.stats().loads).toBe(loads);
    await at.things.delete(keys);
    expect(await at.things.getMany(keys)).toEqual(keys.map((key) => `of ${key}`));
    expect(at.things.stats().loads).toBe(2 * loads);
  });

  test('what no key can be is refused by every call, before a write is run', async () => {
    await using at = await opened(kind, {});
    const refused: readonly (readonly [unknown, string])[] = [
      [undefined, 'VALUE_UNSUPPORTED'],
      [Symbol('x'), 'VALUE_UNSUPPORTED'],
      [() => 'x', 'VALUE_UNSUPPORTED'],
      ['', 'VALUE_UNSUPPORTED'],
      ['\ud800', 'VALUE_UNSUPPORTED'],
      ['x'.repeat(2 ** 20), 'ROW_TOO_LARGE'],
    ];
    for (const [key, code] of refused)
      expect(await refusals(at.things, key), String(key).slice(0, 10)).toEqual(
        Array.from({ length: 8 }, () => code),
      );
    expect(await at.things.get('fine')).toBe('of fine');
  });

  test('a key function that throws, or answers no text, is an answer of each call', async () => {
    await using at = await opened(kind, {
      key: ((key: unknown) => {
        if (key === 'odd') throw new RangeError('no such key');
        return key === 'none' ? undefined : key;
      }) as never,
    });
    await expect(at.things.get('odd')).rejects.toBeInstanceOf(RangeError);
    await expect(at.things.delete('odd')).rejects.toBeInstanceOf(RangeError);
    expect(await refusals(at.things, 'none')).toEqual(
      Array.from({ length: 8 }, () => 'VALUE_UNSUPPORTED'),
    );
  });

  test('a value that cannot be carried is answered, and kept only where it need not be', async () => {
    const odd = { at: new Map() };
    await using at = await opened(kind, { load: () => odd });
    expect(await at.things.get('a')).toBe(odd);
    expect(await at.things.get('a')).toBe(odd);
    expect(at.things.stats().loads).toBe(kind === 'near' ? 1 : 2);
    const told = at.events.filter((event) => event.kind === 'not-kept');
    expect(told.map(({ error }) => (error as TallyError).code)).toEqual(
      kind === 'near' ? [] : ['VALUE_UNSUPPORTED', 'VALUE_UNSUPPORTED'],
    );
    if (kind !== 'near')
      await expect(at.things.set('a', odd)).rejects.toMatchObject({ code: 'VALUE_UNSUPPORTED' });
  });

  test('a value over the limit is answered and not kept', async () => {
    await using at = await opened(kind, { sizeMax: 10, load: () => 'x'.repeat(11) });
    expect(await at.things.get('a')).toHaveLength(11);
    await at.things.get('a');
    expect(at.things.stats().loads).toBe(kind === 'near' ? 1 : 2);
    if (kind !== 'near')
      await expect(at.things.set('a', 'x'.repeat(11))).rejects.toMatchObject({
        code: 'ROW_TOO_LARGE',
      });
  });

  test('a time to live that is none is refused, or the value is not kept', async () => {
    for (const ttl of [NaN, Infinity, -1, 0, '5 minutes', null])
      await expect(opened(kind, { ttl: ttl as never })).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
      });
    await using at = await opened(kind, { ttl: () => NaN });
    expect(await at.things.get('a')).toBe('of a');
    await at.things.get('a');
    expect(at.things.stats().loads).toBe(2);
    expect(at.events.filter((event) => event.kind === 'not-kept')).toHaveLength(2);
    await expect(at.things.set('a', 'x', { ttl: NaN })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    await using other = await opened(kind, { load: () => loaded('x', { ttl: NaN }) });
    expect(await other.things.get('a')).toBe('x');
    expect(other.events.map((event) => event.kind)).toContain('not-kept');
  });

  test('a loader that throws what is no error, or before it returns a promise, is an error of its callers alone', async () => {
    await using at = await opened(kind, {
      load: () => {
        const odd: unknown = 'plain text';
        throw odd as Error;
      },
      loads: { retryAfter: 0 },
    });
    await expect(at.things.get('a')).rejects.toBe('plain text');
    expect(await at.things.getMany([]).then(() => 'fine')).toBe('fine');
    await expect(at.things.getMany(['a', 'b'])).rejects.toBe('plain text');
    expect(at.things.stats()).toMatchObject({ loading: 0, queued: 0 });
  });

  test('a loader that hangs is out of time, keeps its place until it ends, and blocks nobody past its limit', async () => {
    const hung = Promise.withResolvers<string>();
    await using at = await opened(kind, {
      load: (key) => (key === 'hung' ? hung.promise : 'fine'),
      loads: { timeout: '1s', concurrency: 1, retryAfter: 0 },
    });
    const late = expect(at.things.get('hung')).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await at.clock.advance(1_001);
    await late;
    const behind = expect(at.things.get('other')).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    await at.clock.advance(1_001);
    await behind;
    hung.resolve('late');
    await at.clock.advance(1);
    expect(await at.things.get('other')).toBe('fine');
    expect(at.things.stats()).toMatchObject({ loading: 0, queued: 0 });
  });
});
