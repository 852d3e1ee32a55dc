import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkDuration,
  checkNumber,
  checkObject,
  checkOneOf,
  checkOptions,
  checkString,
  DURATION_MAX_MS,
  fieldPath,
  suggest,
} from './options.ts';
import { isTallyError, type TallyError } from './errors.ts';

function refusal(check: () => unknown): TallyError {
  try {
    check();
  } catch (error) {
    if (isTallyError(error, 'CONFIG_INVALID', 'CONFIG_UNKNOWN_OPTION')) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a suggestion', () => {
  it.each([
    ['tabels', 'tables'],
    ['Tables', 'tables'],
    ['projct', 'project'],
    ['batchRowMax', 'batchRowsMax'],
    ['frm', 'from'],
    ['t', 'to'],
    ['batchBytesMx', 'batchBytesMax'],
  ])('for %s is %s', (word, expected) => {
    const known = ['from', 'to', 'tables', 'project', 'batchRowsMax', 'batchBytesMax'];
    expect(suggest(word, known)).toBe(expected);
  });

  it('is the nearest of several that are near', () => {
    expect(suggest('tabl', ['table', 'cable'])).toBe('table');
    expect(suggest('cabl', ['table', 'cable'])).toBe('cable');
  });

  it('is not given for what resembles nothing, or is absurdly long', () => {
    expect(suggest('colour', ['from', 'to', 'tables'])).toBeUndefined();
    expect(suggest('ab', ['cd'])).toBeUndefined();
    expect(suggest('', [])).toBeUndefined();
    expect(suggest('x'.repeat(1_000_000), ['x'.repeat(1_000_000)])).toBeUndefined();
  });

  it('is found for every single slip in a name', () => {
    const known = ['batchRowsMax', 'heartbeatMs', 'tables'];
    const slip = fc.tuple(
      fc.constantFrom(...known),
      fc.nat(),
      fc.constantFrom('drop', 'swap', 'add'),
    );
    fc.assert(
      fc.property(slip, ([name, at, kind]) => {
        const place = at % (name.length - 1);
        const [left, right] = [name.slice(0, place), name.slice(place)];
        const slipped = {
          drop: left + right.slice(1),
          swap: left + right.charAt(1) + right.charAt(0) + right.slice(2),
          add: `${left}z${right}`,
        }[kind];
        expect(suggest(slipped ?? '', known)).toBe(name);
      }),
    );
  });
});

describe('checking options', () => {
  it('takes known ones, own members only', () => {
    expect(() => checkOptions({ from: 1 }, ['from', 'to'], 'flows.a')).not.toThrow();
    expect(() => checkOptions(Object.create({ odd: 1 }) as object, ['from'], '')).not.toThrow();
  });

  it('refuses an unknown one with its path, the nearest name and the known names', () => {
    const error = refusal(() => checkOptions({ tabels: [] }, ['from', 'tables'], 'flows.search'));
    expect(error.code).toBe('CONFIG_UNKNOWN_OPTION');
    expect(error.message).toBe(
      '"tabels" is not an option here (flows.search.tabels). ' +
        'To mend it: did you mean tables? known options are from, tables.',
    );
    expect(error.details).toStrictEqual({
      path: 'flows.search.tabels',
      option: 'tabels',
      known: ['from', 'tables'],
      nearest: 'tables',
    });
  });

  it('refuses an unknown one even if it is undefined, far from all, or named __proto__', () => {
    const given = JSON.parse('{"__proto__":1}') as object;
    expect(refusal(() => checkOptions(given, ['from'], '')).details['path']).toBe('__proto__');
    const error = refusal(() => checkOptions({ colour: undefined }, [], ''));
    expect(error.message).toContain('known options are none');
    expect(error.details).not.toHaveProperty('nearest');
  });

  it('cuts a long list of known names, and a long unknown one, in the message', () => {
    const known = Array.from({ length: 45 }, (_, index) => `option${index}`);
    const { message } = refusal(() => checkOptions({ ['y'.repeat(5_000)]: 1 }, known, 'a'));
    expect(message).toContain('option39 and 5 more');
    expect(message.length).toBeLessThan(700);
  });

  it.each([null, [], 'text', undefined, 5])('refuses %j in place of options', (given) => {
    const error = refusal(() => checkOptions(given as object, [], 'flows.a'));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.details['path']).toBe('flows.a');
    expect(refusal(() => checkObject(given, '')).message).toContain('(options)');
  });

  it('writes paths as code would', () => {
    expect(fieldPath('', 'stores')).toBe('stores');
    expect(fieldPath('stores', 'orders')).toBe('stores.orders');
    expect(fieldPath('tables', 0)).toBe('tables[0]');
    expect(fieldPath('tables', 'order lines')).toBe('tables["order lines"]');
  });
});

describe('checking a number', () => {
  it('takes what is within its bounds, the bounds included', () => {
    expect(checkNumber(0.5, 'x')).toBe(0.5);
    expect(checkNumber(1, 'x', { min: 1, max: 1, integer: true })).toBe(1);
  });

  it.each([
    [Number.NaN, {}, 'a number'],
    [Infinity, {}, 'a number'],
    ['5', {}, 'a number'],
    [null, {}, 'a number'],
    [0, { min: 1 }, 'a number of at least 1'],
    [11, { max: 10 }, 'a number of at most 10'],
    [1.5, { min: 1, max: 10, integer: true } as const, 'a whole number from 1 to 10'],
    [2 ** 53, { integer: true } as const, 'a whole number'],
  ])('refuses %s with limits %j', (value, limits, wanted) => {
    const error = refusal(() => checkNumber(value, 'flows.a.batchRowsMax', limits));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.details).toStrictEqual({ path: 'flows.a.batchRowsMax', wanted });
  });
});

describe('checking a text', () => {
  const pattern = { matches: /^[a-z]+$/, says: 'lower-case letters' };

  it('takes what is within its limits', () => {
    expect(checkString('shop', 'name', { charactersMax: 4, pattern })).toBe('shop');
    expect(checkString('', 'name', { charactersMin: 0 })).toBe('');
  });

  it.each([
    [5, {}, 'a text'],
    ['', {}, 'a text of at least 1 characters'],
    ['secret', { charactersMax: 5 }, 'a text of at most 5 characters'],
    ['s3cret', { pattern }, 'lower-case letters'],
  ])('refuses %j, and never repeats it', (value, limits, wanted) => {
    const error = refusal(() => checkString(value, 'stores.a.url', limits));
    expect(error.details).toStrictEqual({ path: 'stores.a.url', wanted });
    expect(error.message).not.toContain('cret');
  });
});

describe('checking one of several words', () => {
  it('takes a known word and refuses others with the nearest', () => {
    expect(checkOneOf('stale', 'otherwise', ['stale', 'fail'])).toBe('stale');
    const error = refusal(() => checkOneOf('stalle', 'otherwise', ['stale', 'fail']));
    expect(error.message).toBe(
      '"stalle" cannot be used (otherwise). To mend it: did you mean stale? give one of stale, fail.',
    );
    expect(error.details['nearest']).toBe('stale');
    expect(refusal(() => checkOneOf(7, 'x', ['stale'])).details).not.toHaveProperty('nearest');
  });
});

describe('checking a duration', () => {
  it.each<[unknown, number]>([
    [0, 0],
    [250, 250],
    ['200ms', 200],
    ['10s', 10_000],
    ['1.1s', 1_100],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    [DURATION_MAX_MS, DURATION_MAX_MS],
  ])('takes %j as %d ms', (given, ms) => {
    expect(checkDuration(given, 'within')).toBe(ms);
  });

  it.each([
    -1,
    Number.NaN,
    Infinity,
    DURATION_MAX_MS + 1,
    '',
    '10',
    '10 s',
    's',
    '-1s',
    '1e3ms',
    '10S',
    '10sec',
    '.5s',
    '99999d',
    '1s\n',
    `${'9'.repeat(40)}s`,
    null,
    undefined,
    true,
    {},
  ])('refuses %j rather than taking it for something', (given) => {
    const error = refusal(() => checkDuration(given, 'flows.a.within'));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.details['path']).toBe('flows.a.within');
    expect(error.message.length).toBeLessThan(300);
  });

  it('refuses what is no text or number at all, by its kind', () => {
    expect(refusal(() => checkDuration(5n, 'x')).message).toContain('a bigint cannot be used');
    expect(refusal(() => checkDuration(Symbol('s'), 'x')).message).toContain('a symbol');
    expect(refusal(() => checkDuration([], 'x')).message).toContain('a list');
    expect(refusal(() => checkDuration({}, 'x')).message).toContain('an object');
  });

  it('keeps to narrower bounds', () => {
    expect(checkDuration('1s', 'x', { min: 1_000, max: 1_000 })).toBe(1_000);
    expect(refusal(() => checkDuration('999ms', 'x', { min: 1_000 })).code).toBe('CONFIG_INVALID');
    expect(refusal(() => checkDuration('2s', 'x', { max: 1_000 })).code).toBe('CONFIG_INVALID');
  });
});
