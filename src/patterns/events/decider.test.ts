import { describe, expect, test } from 'vitest';
import { accountDecider } from '../../../test/support/account.ts';
import { isTallyError } from '../../core/errors.ts';
import { decider, isRefusal, refuse, type DeciderOptions } from './decider.ts';

type Counter = {
  readonly command: number;
  readonly state: { readonly total: number };
  readonly event: { readonly type: 'counted'; readonly data: { readonly by: number } };
};

const options: DeciderOptions<Counter> = {
  category: 'counter',
  initial: { total: 0 },
  decide: (by) => [{ type: 'counted', data: { by } }],
  evolve: ({ total }, { data }) => ({ total: total + data.by }),
  events: { counted: {} },
};

function code(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return isTallyError(error) ? error.code : String(error);
  }
}

describe('what cannot work is refused where it is declared', () => {
  test.each<[string, object, string]>([
    ['a misspelt option', { evolv: 1 }, 'CONFIG_UNKNOWN_OPTION'],
    ['a category with the character that ends it', { category: 'my-counter' }, 'CONFIG_INVALID'],
    ['an empty category', { category: '' }, 'CONFIG_INVALID'],
    ['no decide', { decide: undefined }, 'CONFIG_INVALID'],
    ['an evolve that is no function', { evolve: 7 }, 'CONFIG_INVALID'],
    ['a command schema that is none', { command: {} }, 'CONFIG_INVALID'],
    ['a snapshot every 0 events', { snapshot: { every: 0, version: 1 } }, 'CONFIG_INVALID'],
    ['a snapshot without version', { snapshot: { every: 10 } }, 'CONFIG_INVALID'],
    [
      'encode without decode',
      { snapshot: { every: 10, version: 1, encode: String } },
      'CONFIG_INVALID',
    ],
    [
      'snapshots of what is no value',
      { snapshot: { every: 1, version: 1 }, initial: new Map() },
      'VALUE_UNSUPPORTED',
    ],
  ])('%s', (_what, change, wanted) => {
    expect(code(() => decider<Counter>({ ...options, ...change }))).toBe(wanted);
  });
});

test('what decide returns is looked at', () => {
  const returning = (decided: unknown): string | undefined =>
    code(() =>
      decider<Counter>({ ...options, decide: () => decided as never }).decide(1, { total: 0 }),
    );
  expect(returning([])).toBeUndefined();
  for (const wrong of [undefined, null, 'counted', {}, Promise.resolve([]), [null], [{ data: 1 }]])
    expect(returning(wrong)).toBe('EVENT_INVALID');
  expect(
    returning(Array.from({ length: 1_001 }, () => ({ type: 'counted', data: { by: 1 } }))),
  ).toBe('EVENT_INVALID');
});

test('an evolve that changes what it is given fails, and does not change the start of every aggregate', () => {
  const careless = decider<Counter>({
    ...options,
    evolve: (state, { data }) => {
      (state as { total: number }).total += data.by;
      return state;
    },
  });
  expect(() => careless.evolve(careless.initial, { type: 'counted', data: { by: 1 } })).toThrow(
    TypeError,
  );
});

test('a refusal carries its reason, for callers to match on', () => {
  const refusal = refuse('too-late', 'the shop is closed', { hour: 23 });
  expect(refusal).toMatchObject({
    code: 'COMMAND_REFUSED',
    retryable: false,
    details: { reason: 'too-late', hour: 23 },
  });
  expect(isRefusal(refusal)).toBe(true);
  expect(isRefusal(refusal, 'too-late')).toBe(true);
  expect(isRefusal(refusal, 'too-early')).toBe(false);
  expect(isRefusal(new Error('no'))).toBe(false);
});

test('the fingerprint changes with what a kept state depends on, and with nothing else', () => {
  const base = decider<Counter>(options).fingerprint;
  expect(decider<Counter>({ ...options }).fingerprint).toBe(base);
  expect(decider<Counter>({ ...options, decide: () => [] }).fingerprint).toBe(base);
  const changed: readonly Partial<DeciderOptions<Counter>>[] = [
    { evolve: (state) => state },
    { events: { counted: { version: 2, upcast: { 1: (data) => data } } } },
    { snapshot: { every: 5, version: 1 } },
    { snapshot: { every: 5, version: 2 } },
    { snapshot: { every: 5, version: 1 }, initial: { total: 1 } },
  ];
  const prints = changed.map((change) => decider<Counter>({ ...options, ...change }).fingerprint);
  expect(new Set([base, ...prints]).size).toBe(changed.length + 1);
  const often = decider<Counter>({ ...options, snapshot: { every: 9, version: 1 } }).fingerprint;
  expect(often).toBe(prints[2]);
});

test('an account is everything that a decider can have', () => {
  const account = accountDecider();
  expect(account.types.names).toEqual(['opened', 'deposited', 'withdrawn', 'closed']);
  expect(account.types.storedNames).toContain('taken');
});
