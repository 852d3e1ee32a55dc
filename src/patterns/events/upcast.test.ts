import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { EventType } from './event.ts';
import { eventTypes } from './upcast.ts';

const error = (work: () => unknown): { code?: string; message?: string } => {
  try {
    work();
    return {};
  } catch (thrown) {
    return thrown as { code: string; message: string };
  }
};

test('an event of an old version is brought up version by version', () => {
  const types = eventTypes({
    paid: {
      version: 3,
      upcast: {
        1: (data: { euros: number }) => ({ cents: data.euros * 100 }),
        2: (data: { cents: number }) => ({ ...data, currency: 'EUR' }),
      },
    },
  });
  expect(types.read({ type: 'paid', schemaVersion: 1, data: { euros: 2 } })).toEqual({
    type: 'paid',
    data: { cents: 200, currency: 'EUR' },
  });
  expect(types.read({ type: 'paid', schemaVersion: 2, data: { cents: 5 } })).toEqual({
    type: 'paid',
    data: { cents: 5, currency: 'EUR' },
  });
  expect(types.versionOf('paid')).toBe(3);
});

test('an event of a former name is read as what it became, its versions counted on', () => {
  const types = eventTypes({
    paid: {
      version: 2,
      formerly: ['bezahlt'],
      upcast: { 1: (data: { n: number }) => ({ n: data.n + 1 }) },
    },
  });
  expect(types.read({ type: 'bezahlt', schemaVersion: 1, data: { n: 1 } })).toEqual({
    type: 'paid',
    data: { n: 2 },
  });
  expect(types.read({ type: 'bezahlt', schemaVersion: 2, data: { n: 1 } })).toEqual({
    type: 'paid',
    data: { n: 1 },
  });
  expect(error(() => types.check({ type: 'bezahlt', data: {} }, 'here'))).toMatchObject({
    code: 'EVENT_UNKNOWN',
  });
});

describe('what cannot be a chain is refused where it is declared', () => {
  const same = (data: object): object => data;
  test.each<[string, Readonly<Record<string, EventType>>, RegExp]>([
    [
      'a gap',
      { paid: { version: 3, upcast: { 1: same } } },
      /nothing brings version 2 of paid to 3/,
    ],
    ['no upcast at all', { paid: { version: 2 } }, /nothing brings version 1 of paid to 2/],
    [
      'an upcast from the present version',
      { paid: { version: 1, upcast: { 1: same } } },
      /from version 1/,
    ],
    ['an upcast from version 0', { paid: { upcast: { 0: same } } }, /from version 0/],
    [
      'two claims on one name',
      { paid: { formerly: ['sold'] }, sold: {} },
      /claims the name "sold"/,
    ],
    ['no event', {}, /names no event/],
    ['version 0', { paid: { version: 0 } }, /0 cannot be used/],
    ['a fraction', { paid: { version: 1.5 } }, /cannot be used/],
    ['what is no schema', { paid: { schema: {} as never } }, /is not a schema/],
  ])('%s', (_what, types, says) => {
    expect(error(() => eventTypes(types))).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(says),
    });
  });

  test('a misspelt option', () => {
    expect(error(() => eventTypes({ paid: { versoin: 2 } as never }))).toMatchObject({
      code: 'CONFIG_UNKNOWN_OPTION',
    });
  });
});

describe('what cannot be read is named, and where it stands', () => {
  const types = eventTypes({
    paid: {
      version: 2,
      schema: z.object({ cents: z.number().int() }),
      upcast: {
        1: (data: { euros: number }) => {
          if (data.euros < 0) throw new Error('no such amount');
          return { cents: data.euros * 100 };
        },
      },
    },
  });
  const place = { stream: 'order-7', version: 3 };
  test.each([
    [
      'an unknown type',
      { type: 'piad', schemaVersion: 1, data: {} },
      'EVENT_UNKNOWN',
      /did you mean paid/,
    ],
    [
      'a version of the future',
      { type: 'paid', schemaVersion: 3, data: {} },
      'EVENT_UNKNOWN',
      /only 1 to 2/,
    ],
    ['version 0', { type: 'paid', schemaVersion: 0, data: {} }, 'EVENT_UNKNOWN', /version 0/],
    [
      'a failed upcast',
      { type: 'paid', schemaVersion: 1, data: { euros: -1 } },
      'EVENT_INVALID',
      /no such amount/,
    ],
    [
      'an upcast of nothing',
      { type: 'paid', schemaVersion: 1, data: null },
      'EVENT_INVALID',
      /threw/,
    ],
    [
      'data that does not fit',
      { type: 'paid', schemaVersion: 2, data: { cents: 'x' } },
      'EVENT_INVALID',
      /cents: /,
    ],
    [
      'upcast data that does not fit',
      { type: 'paid', schemaVersion: 1, data: { euros: 0.001 } },
      'EVENT_INVALID',
      /cents/,
    ],
  ])('%s', (_what, stored, code, says) => {
    const thrown = error(() => types.read({ ...stored, ...place }));
    expect(thrown).toMatchObject({ code, message: expect.stringMatching(says) });
    expect(thrown.message).toContain('event 3 of order-7');
  });

  test('a schema that is asynchronous is waited for', async () => {
    const slow = eventTypes({
      paid: { schema: z.object({}).refine(async () => Promise.resolve(false), 'not today') },
    });
    await expect(slow.read({ type: 'paid', schemaVersion: 1, data: {} })).rejects.toMatchObject({
      code: 'EVENT_INVALID',
      message: expect.stringContaining('not today'),
    });
  });

  test('a schema that throws is the cause of EVENT_INVALID', () => {
    const broken = eventTypes({
      paid: {
        schema: {
          '~standard': {
            version: 1,
            vendor: 'test',
            validate: () => {
              throw new Error('out of ideas');
            },
          },
        },
      },
    });
    expect(error(() => broken.check({ type: 'paid', data: 1 }, 'here'))).toMatchObject({
      code: 'EVENT_INVALID',
      message: expect.stringContaining('out of ideas'),
    });
  });
});

// Each version adds a member that says where it was: reading must pass every version from there on once, in order.
test('whatever version an event was written in, it passes each later one exactly once, in order', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 30 }),
      fc.integer({ min: 1, max: 30 }),
      fc.option(fc.constant('formerName')),
      (present, written, former) => {
        fc.pre(written <= present);
        const types = eventTypes({
          happened: {
            version: present,
            formerly: former === null ? [] : [former],
            upcast: Object.fromEntries(
              Array.from({ length: present - 1 }, (_, index) => [
                index + 1,
                (data: { path: readonly number[] }) => ({ path: [...data.path, index + 1] }),
              ]),
            ),
          },
        });
        const data = { path: [] };
        const read = types.read({ type: former ?? 'happened', schemaVersion: written, data });
        const wanted = Array.from({ length: present - written }, (_, index) => written + index);
        expect(read).toEqual({ type: 'happened', data: { path: wanted } });
        expect(data).toEqual({ path: [] });
      },
    ),
  );
});

test('an event read in two steps, by the code of then and that of now, is the same as in one', () => {
  const steps = fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 2, maxLength: 12 });
  fc.assert(
    fc.property(steps, fc.nat(), fc.nat(), fc.integer(), (adds, one, other, start) => {
      const [from, middle] = [one % adds.length, other % adds.length].toSorted((a, b) => a - b);
      const upTo = (versions: number): ReturnType<typeof eventTypes> =>
        eventTypes({
          counted: {
            version: versions,
            upcast: Object.fromEntries(
              adds
                .slice(0, versions - 1)
                .map((add, index) => [index + 1, (n: number) => n * 2 + add]),
            ),
          },
        });
      const now = upTo(adds.length + 1);
      const then = upTo((middle ?? 0) + 1);
      const direct = now.read({ type: 'counted', schemaVersion: (from ?? 0) + 1, data: start });
      const halfway = then.read({ type: 'counted', schemaVersion: (from ?? 0) + 1, data: start });
      const { data } = halfway as { data: unknown };
      expect(now.read({ type: 'counted', schemaVersion: (middle ?? 0) + 1, data })).toEqual(direct);
    }),
  );
});
