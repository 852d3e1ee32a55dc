import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { TallyError } from '../../core/errors.ts';
import type { Freshness } from '../../flow/barrier.ts';
import type { Store } from '../../ports/store.ts';
import { httpStatusOf } from './http-status.ts';
import {
  readModels,
  type QueryFreshness,
  type ReadableApp,
  type ReadModels,
} from './read-models.ts';

interface Engine<System extends string> extends Store<{ readonly name: string }> {
  readonly system: System;
}

type Stores = {
  readonly search: Engine<'elastic'>;
  readonly views: Engine<'sqlite'>;
  readonly lake: Engine<'duckdb'>;
};

/** An application whose stores are as fresh, and as well, as a test says. */
function app(
  state: Partial<Record<keyof Stores, 'fresh' | 'lags' | 'down'>> = {},
): ReadableApp<Stores> & {
  readonly asked: { readonly store: string; readonly options: object }[];
} {
  const asked: { store: string; options: object }[] = [];
  const engine = <System extends string>(name: string, system: System): Engine<System> =>
    ({ name, system, client: { name } }) as Engine<System>;
  const stores: Stores = {
    search: engine('search', 'elastic'),
    views: engine('views', 'sqlite'),
    lake: engine('lake', 'duckdb'),
  };
  return {
    stores,
    asked,
    async read<Result>(
      store: keyof Stores,
      options: Omit<QueryFreshness, 'otherwise'> & { readonly otherwise?: 'stale' | 'fail' },
      work: () => Result | Promise<Result>,
    ) {
      asked.push({ store, options });
      const how = state[store] ?? 'fresh';
      const freshness: Freshness =
        how === 'lags' ? { kind: 'timeout', seen: [], waitedMs: 5 } : { kind: 'fresh' };
      if (how === 'lags' && options.otherwise !== 'stale')
        throw new TallyError('BARRIER_TIMEOUT', { what: 'not reached', details: { freshness } });
      if (how === 'down') throw new Error('connection refused');
      return { value: await work(), freshness };
    },
  };
}

function accounts(of: ReadableApp<Stores>): ReadModels<Stores> {
  return readModels(of, {
    names: { store: 'search', about: 'accounts', offers: ['search'], target: 'accounts-v1' },
    balances: { store: 'views', about: 'accounts', offers: ['key', 'relational'] },
    movements: { store: 'lake', about: 'movements', offers: ['analytics'] },
  });
}

const byName = (models: ReadModels<Stores>) =>
  models.query<string, string>({
    about: 'accounts',
    ways: [
      {
        needs: 'search',
        by: {
          elastic: (client, text, { store, target }) =>
            `${client.name} ${store.system} ${target} ${text}`,
        },
      },
      { needs: 'relational', by: { sqlite: (client, text) => `${client.name} like ${text}` } },
    ],
  });

test('a query goes to the model that offers what its first way needs, by the native query of its system', async () => {
  const running = app();
  const answer = await byName(accounts(running))('ada', { within: '50ms' });
  expect(answer).toEqual({
    value: 'search elastic accounts-v1 ada',
    model: 'names',
    freshness: { kind: 'fresh' },
    tried: [],
  });
  expect(running.asked).toMatchObject([{ store: 'search', options: { otherwise: 'fail' } }]);
});

test.each([
  ['lags', 'not-fresh'],
  ['down', 'failed'],
] as const)(
  'if the first model %s, the next one answers, and the answer says why',
  async (state, why) => {
    const answer = await byName(accounts(app({ search: state })))('ada');
    expect(answer).toMatchObject({
      value: 'views like ada',
      model: 'balances',
      tried: [{ model: 'names', store: 'search', why }],
    });
  },
);

test('what the first model has waited is not waited again for the next', async () => {
  let nowMs = 0;
  const running = app({ search: 'lags', views: 'lags' });
  const models = readModels(
    {
      stores: running.stores,
      read: async (store, options, work) => {
        const within = Number(options.within);
        return running.read(store, options, work).finally(() => {
          nowMs += Math.min(within, 80);
        });
      },
    },
    {
      names: { store: 'search', about: 'accounts', offers: ['search'] },
      balances: { store: 'views', about: 'accounts', offers: ['relational'] },
    },
    {
      clock: {
        nowMs: () => nowMs,
        monotonicMs: () => nowMs,
        sleep: async () => {},
        after: () => () => {},
      },
    },
  );
  await expect(byName(models)('ada', { within: 100 })).rejects.toMatchObject({
    code: 'QUERY_UNANSWERED',
  });
  expect(running.asked.map(({ options }) => (options as QueryFreshness).within)).toEqual([100, 20]);
});

test('if none is fresh, the first that can be reached answers stale where that was allowed, and says so', async () => {
  const query = byName(accounts(app({ search: 'down', views: 'lags' })));
  expect(await query('ada', { otherwise: 'stale' })).toMatchObject({
    value: 'views like ada',
    model: 'balances',
    freshness: { kind: 'timeout' },
    tried: [
      { model: 'names', why: 'failed' },
      { model: 'balances', why: 'not-fresh' },
    ],
  });
});

test('if no model can answer, the error says of each why', async () => {
  const query = byName(accounts(app({ search: 'down', views: 'lags' })));
  const error: TallyError = await query('ada').then(
    () => expect.unreachable(),
    (thrown: TallyError) => thrown,
  );
  expect(error).toMatchObject({
    code: 'QUERY_UNANSWERED',
    retryable: true,
    details: {
      tried: [
        { model: 'names', store: 'search', why: 'failed', message: 'connection refused' },
        { model: 'balances', store: 'views', why: 'not-fresh', code: 'BARRIER_TIMEOUT' },
      ],
    },
  });
  expect(error.message).toContain('names in search failed: connection refused');
  expect(httpStatusOf(error)).toBe(503);
});

test('a caller who gives up is not handed on to the next model', async () => {
  const running = app({ search: 'down' });
  const query = byName(accounts(running));
  await expect(query('ada', { signal: AbortSignal.abort() })).rejects.toThrow('connection refused');
  expect(running.asked).toHaveLength(1);
});

describe('what no model can ever answer is refused where it is declared', () => {
  const models = accounts(app());
  test('a capability that nobody offers', () => {
    expect(() =>
      models.query<string, string>({
        about: 'accounts',
        ways: [{ needs: 'graph', by: { sqlite: () => '' } }],
      }),
    ).toThrow(
      expect.objectContaining({
        code: 'CAPABILITY_MISSING',
        message: expect.stringMatching(/graph by sqlite.*names \(search, in elastic\)/s),
      }),
    );
  });

  test('a capability without a native query for the system that offers it', () => {
    expect(() =>
      models.query<string, string>({
        about: 'accounts',
        ways: [{ needs: 'search', by: { sqlite: () => '' } }],
      }),
    ).toThrow(expect.objectContaining({ code: 'CAPABILITY_MISSING' }));
  });

  test.each<[string, object, string]>([
    ['about something unknown', { about: 'acounts', ways: [] }, 'CONFIG_INVALID'],
    ['with a misspelt option', { abuot: 'accounts', ways: [] }, 'CONFIG_UNKNOWN_OPTION'],
    ['with a schema that is none', { about: 'accounts', ways: [], input: 1 }, 'CONFIG_INVALID'],
  ])('a query %s', (_what, options, code) => {
    expect(() => models.query(options as never)).toThrow(expect.objectContaining({ code }));
  });

  test.each<[string, object, string]>([
    ['in a store that is not there', { store: 'serch', about: 'x', offers: [] }, 'CONFIG_INVALID'],
    [
      'that offers what is no capability',
      { store: 'search', about: 'x', offers: ['serch'] },
      'CONFIG_INVALID',
    ],
    [
      'with a misspelt option',
      { store: 'search', about: 'x', offers: [], tabel: 1 },
      'CONFIG_UNKNOWN_OPTION',
    ],
  ])('a model %s', (_what, model, code) => {
    expect(() => readModels(app(), { wrong: model as never })).toThrow(
      expect.objectContaining({ code }),
    );
  });
});

test('input that does not fit the schema of a query asks no store', async () => {
  const running = app();
  const query = accounts(running).query<string, string>({
    about: 'accounts',
    input: z.string().min(3),
    ways: [{ needs: 'search', by: { elastic: () => 'found' } }],
  });
  await expect(query('a')).rejects.toMatchObject({ code: 'INPUT_INVALID' });
  expect(running.asked).toEqual([]);
});
