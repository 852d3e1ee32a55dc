import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isTallyError } from '../core/errors.ts';
import { catalogue } from './catalogue.ts';
import { decide, NEW_STORE_POINTS, type Decision } from './decide.ts';
import { decisionText, explanationText } from './explain.ts';
import { costOf } from './money.ts';
import { weights } from './score.ts';
import { answerOf, changesOf, flipsOf } from './sensitivity.ts';
import { leafOf } from './tree.ts';
import { checkWorkload, type Workload } from './workload.ts';
import {
  dataModels,
  durabilities,
  guarantees,
  queryShapes,
  reaches,
  transactionScopes,
} from './system.ts';

const ids = (decision: Decision): readonly string[] =>
  decision.ranked.map(({ candidate }) => candidate.system.id);

describe('the usual decision tree holds, leaf by leaf', () => {
  test.each<[leaf: string, workload: Workload, pick: string, alternative: string]>([
    ['key-value/fast', { model: 'key-value', latencyMs: 0.5 }, 'redis', 'memcached'],
    [
      'key-value/durable',
      { model: 'key-value', durability: 'replicated' },
      'dynamodb',
      'foundationdb',
    ],
    ['key-value/other', { model: 'key-value' }, 'rocksdb', 'leveldb'],
    // The tree names one; the alternative is another document store that is linearizable.
    ['document/strong', { model: 'document', consistency: 'linearizable' }, 'mongodb', 'rethinkdb'],
    ['document/huge', { model: 'document', bytes: 2e15 }, 'cassandra', 'elasticsearch'],
    ['document/other', { model: 'document' }, 'rethinkdb', 'couchdb'],
    [
      'relational/global',
      { model: 'relational', reach: 'global-writes' },
      'spanner',
      'cockroachdb',
    ],
    ['relational/analytics', { model: 'relational', analytics: true }, 'snowflake', 'bigquery'],
    ['relational/other', { model: 'relational' }, 'postgresql', 'mysql'],
    ['graph/huge', { model: 'graph', edges: 2e9 }, 'dgraph', 'janusgraph'],
    ['graph/other', { model: 'graph' }, 'neo4j', 'arangodb'],
    ['time-series/years', { model: 'time-series', retentionDays: 3_650 }, 'cassandra', 'hbase'],
    ['time-series/other', { model: 'time-series' }, 'influxdb', 'timescaledb'],
  ])('%s', (leaf, workload, pick, alternative) => {
    expect(leafOf(workload)?.id).toBe(leaf);
    const decision = decide(workload);
    expect(decision).toMatchObject({
      kind: 'add',
      pick: { candidate: { system: { id: pick } } },
      alternative: { candidate: { system: { id: alternative } } },
    });
    expect(decisionText(workload, decision, [])).toContain('says so too');
  });

  test('where it differs the answer says why: speed and durability at once is no cache', () => {
    const workload: Workload = {
      model: 'key-value',
      latencyMs: 0.5,
      durability: 'disk',
      transactions: 'interactive',
    };
    const decision = decide(workload);
    expect(answerOf(decision)).toBe('add rocksdb');
    const text = decisionText(workload, decision, []);
    expect(text).toContain('says otherwise');
    expect(text).toMatch(/Memcached fails durability disk, transactions interactive/);
  });
});

describe('do not add a store', () => {
  test('PostgreSQL with an extension, while it is enough; the text says what a new one would cost', () => {
    const workload: Workload = {
      model: 'search',
      bytes: 1e10,
      runs: ['postgresql'],
      queries: ['full-text'],
    };
    const decision = decide(workload);
    expect(decision).toMatchObject({
      kind: 'keep',
      pick: { candidate: { system: { id: 'postgresql' }, stretch: { by: 'tsvector, pg_trgm' } } },
    });
    const text = decisionText(workload, decision, flipsOf(workload, decision));
    expect(text).toMatch(/^do not add a store: use PostgreSQL with tsvector/m);
    expect(text).toContain(`better by ${NEW_STORE_POINTS} points`);
    expect(text).toMatch(/days a month \(our estimate\)/);
    expect(text).toContain('if bytes were 10 TB: ');
  });

  test.each([
    [1e10, 'keep postgresql'],
    [1e13, 'add elasticsearch'],
  ])('of %d bytes of search: %s', (bytes, answer) => {
    expect(answerOf(decide({ model: 'search', bytes, runs: ['postgresql'] }))).toBe(answer);
  });

  test('what the team runs and cannot do it is eliminated like any other', () => {
    const decision = decide({ model: 'key-value', latencyMs: 0.4, runs: ['postgresql'] });
    expect(answerOf(decision)).toBe('add redis');
    expect(
      decision.eliminated.find(({ candidate }) => candidate.system.id === 'postgresql')?.fails,
    ).toMatchObject([{ name: 'latencyMs' }]);
  });
});

describe('what cannot be', () => {
  test('names the requirements, and the smallest sets to relax', () => {
    const workload: Workload = {
      model: 'document',
      consistency: 'strict-serializable',
      reach: 'global-writes',
      latencyMs: 1,
    };
    const decision = decide(workload);
    expect(decision.kind).toBe('conflict');
    const text = decisionText(workload, decision, []);
    expect(text).toContain(
      'no system satisfies: data model document + reads in 1 ms + consistency strict-serializable + reach global-writes',
    );
    expect(text).toContain('the smallest set to relax is');
  });

  test('relaxing a smallest set leaves something, and no smaller set does (brute force)', () => {
    fc.assert(
      fc.property(workloads, (workload) => {
        const decision = decide(workload);
        if (decision.kind !== 'conflict') return;
        const names = decision.requirements
          .map(({ name }) => name)
          .filter((name) => name !== 'model');
        const possible = subsets(names).filter(
          (set) => ids(decide(without(workload, set))).length > 0,
        );
        const least = Math.min(...possible.map(({ length }) => length));
        const told = decision.relax.map(({ requirements }) =>
          requirements
            .map(({ name }) => name)
            .toSorted()
            .join(' '),
        );
        expect(told.toSorted()).toEqual(
          possible
            .filter(({ length }) => length === least)
            .map((set) => set.toSorted().join(' '))
            .toSorted(),
        );
      }),
      { numRuns: 60 },
    );
  });
});

const maybe = <Value>(arbitrary: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(arbitrary, { nil: undefined });
const workloads: fc.Arbitrary<Workload> = fc
  .record({
    model: fc.constantFrom(...dataModels),
    latencyMs: maybe(fc.constantFrom(0.1, 1, 10, 100)),
    durability: maybe(fc.constantFrom(...durabilities)),
    consistency: maybe(fc.constantFrom('eventual' as const, ...guarantees)),
    transactions: maybe(fc.constantFrom(...transactionScopes)),
    bytes: maybe(fc.constantFrom(1e9, 1e12, 1e15, 1e18)),
    itemBytes: maybe(fc.constantFrom(1e3, 1e6, 1e9)),
    reach: maybe(fc.constantFrom(...reaches)),
    survives: maybe(fc.constantFrom(0, 1, 2)),
    queries: maybe(fc.subarray([...queryShapes], { maxLength: 3 })),
    analytics: maybe(fc.boolean()),
    hosting: maybe(
      fc.constantFrom('embedded' as const, 'self-hosted' as const, 'managed' as const),
    ),
    team: maybe(fc.constantFrom('none' as const, 'small' as const, 'platform' as const)),
    openSource: maybe(fc.boolean()),
    runs: maybe(fc.subarray(['postgresql', 'redis', 'kafka', 'mongodb'])),
  })
  .map((fields) =>
    checkWorkload(
      Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)),
    ),
  );

function without(workload: Workload, names: readonly (keyof Workload)[]): Workload {
  return Object.fromEntries(
    Object.entries(workload).filter(([name]) => !(names as readonly string[]).includes(name)),
  ) as unknown as Workload;
}

function subsets<Item>(items: readonly Item[]): Item[][] {
  return items.reduce<Item[][]>(
    (sets, item) => [...sets, ...sets.map((set) => [...set, item])],
    [[]],
  );
}

describe('laws', () => {
  test('a requirement more never brings a system back; one less never removes one', () => {
    fc.assert(
      fc.property(workloads, (workload) => {
        const before = new Set(ids(decide(workload)));
        for (const name of Object.keys(workload) as (keyof Workload)[]) {
          if (name === 'model') continue;
          const relaxed = new Set(ids(decide(without(workload, [name]))));
          expect(
            [...before].filter((id) => !relaxed.has(id)),
            name,
          ).toEqual([]);
        }
      }),
      { numRuns: 150 },
    );
  });

  test('a stricter quantity or word never brings a system back', () => {
    fc.assert(
      fc.property(workloads, (workload) => {
        const before = new Set(ids(decide(workload)));
        const stricter: Workload[] = [
          { ...workload, bytes: (workload.bytes ?? 1e9) * 10 },
          { ...workload, latencyMs: (workload.latencyMs ?? 1_000) / 10 },
          { ...workload, survives: (workload.survives ?? 0) + 1 },
          {
            ...workload,
            durability:
              durabilities[durabilities.indexOf(workload.durability ?? 'memory') + 1] ??
              'replicated',
          },
          {
            ...workload,
            reach: reaches[reaches.indexOf(workload.reach ?? 'process') + 1] ?? 'global-writes',
          },
        ];
        for (const next of stricter)
          expect(ids(decide(next)).filter((id) => !before.has(id))).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  test('every system of the model is either ranked or eliminated with what it fails, never both', () => {
    fc.assert(
      fc.property(workloads, (workload) => {
        const decision = decide(workload);
        const ranked = new Set(ids(decision));
        const out = decision.eliminated.map(({ candidate }) => candidate.system.id);
        expect(out.filter((id) => ranked.has(id))).toEqual([]);
        for (const { fails } of decision.eliminated) expect(fails.length).toBeGreaterThan(0);
        const meant = catalogue.filter(
          ({ models, stretches }) =>
            models.value.includes(workload.model) ||
            stretches.some(({ model }) => model === workload.model),
        );
        expect(ranked.size + out.length).toBe(meant.length);
      }),
      { numRuns: 100 },
    );
  });

  test('what would change the answer is what brute force finds', () => {
    fc.assert(
      fc.property(workloads, (workload) => {
        const told = new Set(flipsOf(workload, decide(workload)).map(({ says }) => says));
        // Written once more by hand, without the module under test: words, magnitudes, absence.
        for (const { says, workload: changed } of changesOf(workload))
          expect(told.has(says)).toBe(answerOf(decide(changed)) !== answerOf(decide(workload)));
        for (const word of durabilities) {
          if (word === workload.durability) continue;
          const differs =
            answerOf(decide({ ...workload, durability: word })) !== answerOf(decide(workload));
          expect(told.has(`if durability were ${word}`)).toBe(differs);
        }
        for (const name of Object.keys(workload) as (keyof Workload)[]) {
          if (['model', 'analytics', 'openSource'].includes(name)) continue;
          const differs =
            answerOf(decide(without(workload, [name]))) !== answerOf(decide(workload));
          expect(told.has(`without ${name}`)).toBe(differs);
        }
      }),
      { numRuns: 25 },
    );
  });

  test('the same workload has the same answer, and the weights add up to 100', () => {
    expect(Object.values(weights).reduce((sum, weight) => sum + weight, 0)).toBe(100);
    const workload: Workload = { model: 'relational', runs: ['mysql'] };
    expect(answerOf(decide(workload))).toBe(answerOf(decide(workload)));
  });
});

describe('a workload', () => {
  test.each([
    [{}, 'workload.model'],
    [{ model: 'relatonal' }, 'did you mean relational?'],
    [{ model: 'graph', durabilty: 'disk' }, 'did you mean durability?'],
    [{ model: 'graph', consistency: 'strong' }, 'workload.consistency'],
    [{ model: 'graph', latencyMs: -1 }, 'workload.latencyMs'],
    [{ model: 'graph', analytics: 'yes' }, 'true or false'],
    [{ model: 'graph', runs: ['postgrs'] }, 'did you mean postgres?'],
    [{ model: 'graph', queries: 'join' }, 'give a list'],
    ['graph', 'an object'],
  ])('%j is refused: %s', (value, says) => {
    let thrown: unknown;
    try {
      checkWorkload(value);
    } catch (error) {
      thrown = error;
    }
    expect(isTallyError(thrown, 'CONFIG_INVALID', 'CONFIG_UNKNOWN_OPTION')).toBe(true);
    expect(String(thrown)).toContain(says);
  });

  test('names of systems become those of the catalogue', () => {
    expect(checkWorkload({ model: 'log', runs: ['Postgres', 'msk'] }).runs).toEqual([
      'postgresql',
      'kafka',
    ]);
  });
});

test('money is list prices with their dates, or nothing', () => {
  const dynamodb = catalogue.find(({ id }) => id === 'dynamodb');
  const postgresql = catalogue.find(({ id }) => id === 'postgresql');
  const workload: Workload = {
    model: 'key-value',
    bytes: 100 * 1_024 ** 3,
    readsPerSecond: 100,
    writesPerSecond: 100,
  };
  const cost = dynamodb === undefined ? undefined : costOf(dynamodb, workload);
  // 259.2 million of each a month: 162 + 32.4, and 100 GiB at 0.25.
  expect(cost?.dollarsPerMonth).toBeCloseTo(162 + 32.4 + 25, 1);
  for (const part of cost?.parts ?? []) expect(part.date).toMatch(/^\d{4}-/);
  expect(postgresql === undefined ? undefined : costOf(postgresql, workload)).toBeUndefined();
  expect(
    dynamodb === undefined ? undefined : costOf(dynamodb, { model: 'key-value' }),
  ).toBeUndefined();
});

test('the explanation shows every weight, every score, every elimination, and the documents', () => {
  const workload: Workload = {
    model: 'relational',
    reach: 'global-writes',
    consistency: 'serializable',
  };
  const text = explanationText(decide(workload));
  for (const name of Object.keys(weights)) expect(text).toContain(name);
  expect(text).toContain('PostgreSQL: reach global-writes');
  expect(text).toContain('https://cloud.google.com/spanner/docs/true-time-external-consistency');
});
