import { describe, expect, test } from 'vitest';
import { isTallyError } from '../core/errors.ts';
import { DOCUMENT_BYTES_MAX } from './document.ts';
import { lint } from './lint.ts';
import { presets } from './presets.ts';
import { ruleIds } from './rule-ids.ts';
import { rules, unusedIgnore } from './rules.ts';
import { jsonSchema } from './shape.ts';
import { topologyShape } from './shapes.ts';
import { readTopology } from './topology.ts';
import { topologyOfApp } from './from-app.ts';

const today = '2026-11-30';

function problems(text: string): readonly string[] {
  return readTopology(text, 'shop.yaml').problems.map(
    ({ path, at, what, mend }) => `${at.line}:${at.column} ${path}: ${what}; ${mend}`,
  );
}

function thrown(text: string): unknown {
  try {
    readTopology(text, 'shop.yaml');
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('what cannot be read is told with its place', () => {
  test('a misspelt field, system, role, service, data and rule, each with the name that was meant', () => {
    expect(problems('services:\n  - name: orders\n    storge: { primary: postgresql }\n')).toEqual([
      '3:5 services[0].storge: "storge" is not a field here; did you mean storage? known fields are name, team, instances, availability, latency, storage, calls, writes, reads, queries, transactions',
    ]);
    expect(problems('services:\n  - name: orders\n    storage: { primary: postgrsql }\n')).toEqual([
      '3:25 services[0].storage.primary: "postgrsql" is neither a system of the catalogue nor a store under stores; did you mean postgresql? for a system that the catalogue does not know, add kind',
    ]);
    expect(problems('services:\n  - name: orders\n    storage: { cach: redis }\n')[0]).toContain(
      'did you mean cache?',
    );
    const text = [
      'services:',
      '  - name: orders',
      '    storage: { primary: { system: postgresql, configuration: sync-standbi } }',
      '    calls: [{ to: paymnts }]',
      '  - name: payments',
      'data: { order: { owner: ordrs } }',
      'ignore: [{ rule: dual-wite, reason: known }]',
      'flows: [{ from: orders.primry, to: orders.primary, by: capture, data: [oder] }]',
    ].join('\n');
    expect(problems(text)).toEqual([
      expect.stringContaining('did you mean sync-standby?'),
      expect.stringContaining(
        '7:18 ignore[0].rule: there is no rule "dual-wite"; did you mean dual-write?',
      ),
      expect.stringContaining('4:19 services[0].calls[0].to'),
      expect.stringContaining(
        '6:25 data.order.owner: there is no service "ordrs"; did you mean orders?',
      ),
      expect.stringContaining(
        '8:17 flows[0].from: there is no store "orders.primry"; did you mean orders.primary?',
      ),
      expect.stringContaining('there is no data "oder"; did you mean order?'),
    ]);
  });

  test('all problems of a file at once, and values with the form that fits', () => {
    const found = problems(
      'services:\n  - name: a\n    availability: 120%\n    latency: fast\n    instances: 0.5\nstores:\n  s: { system: redis, restoreTested: 2026-02-30, retention: 3 weeks }\n',
    );
    expect(found).toHaveLength(5);
    expect(found.join('\n')).toContain('99.9%');
    expect(found.join('\n')).toContain('200ms');
    expect(found.join('\n')).toContain('2026-10-01');
  });

  test('a key that stands twice: YAML would let the last one win', () => {
    expect(problems('services: [{ name: a, name: b }]')[0]).toContain('stands here a second time');
  });

  test('two services of one name', () => {
    expect(problems('services: [{ name: a }, { name: a }]')[0]).toContain(
      'there are two services a',
    );
  });

  test.each([
    ['no YAML at all', 'services: [', 'no YAML document'],
    ['an alias that holds itself', 'services: &a [*a]', 'holds itself'],
    ['an alias of nothing', 'services: *missing', 'missing'],
    ['a key that is a list', '? [a, b]\n: c', 'plain word'],
    ['too deep', `services: ${'['.repeat(60)}${']'.repeat(60)}`, 'inside one another'],
    [
      'a bomb of aliases',
      ['a: &a [x,x,x,x,x,x,x,x,x,x]']
        .concat(
          'bcdefgh'
            .split('')
            .map(
              (name, index) =>
                `${name}: &${name} [${`*${'abcdefg'[index]},`.repeat(10).slice(0, -1)}]`,
            ),
        )
        .join('\n'),
      'expands to more than',
    ],
    ['a file that is too large', `# ${'x'.repeat(DOCUMENT_BYTES_MAX)}`, 'larger than'],
  ])('refuses %s, with its place', (_what, text, says) => {
    const error = thrown(text);
    expect(isTallyError(error, 'INPUT_INVALID')).toBe(true);
    expect(String(error)).toContain(says);
    expect(String(error)).toContain('shop.yaml');
  });

  test('an empty file says what is missing', () => {
    expect(problems('')[0]).toContain('stands where fields are expected');
  });
});

describe('what is read', () => {
  const text = [
    'services:',
    '  - name: orders',
    '    storage:',
    '      primary: shared',
    '      cache: redis',
    '  - name: stock',
    '    storage: { primary: shared }',
    'stores:',
    '  shared: { system: postgres, configuration: sync-standby }',
    'data:',
    '  orders: orders',
  ].join('\n');

  test('stores by role, by name, and by alias of their system', () => {
    const { topology } = readTopology(text, 'shop.yaml');
    expect(topology?.storeOf('orders.cache')).toMatchObject({
      id: 'orders.cache',
      system: 'redis',
      family: 'key-value',
    });
    expect(topology?.storeOf('primary', 'stock')).toMatchObject({
      id: 'shared',
      system: 'postgresql',
    });
    expect(topology?.storeOf('shared')?.users.map(({ service }) => service)).toEqual([
      'orders',
      'stock',
    ]);
    expect(topology?.storeOf('nowhere')).toBeUndefined();
  });

  test('a place for each finding, of the nearest declaration', () => {
    const { topology } = readTopology(text, 'shop.yaml');
    const found = topology === undefined ? [] : lint(topology, { today }).findings;
    expect(found.map(({ id, at, severity }) => `${at.line} ${severity} ${id}`)).toEqual([
      '4 warning no-restore-evidence',
      '5 warning cache-without-owner',
      '7 error shared-store',
    ]);
  });

  test('JSON is YAML', () => {
    const { topology, problems: none } = readTopology(
      '{"services":[{"name":"a","storage":{"primary":"mysql"}}]}',
      'a.json',
    );
    expect(none).toEqual([]);
    expect(topology?.stores.size).toBe(1);
  });

  test('a system that the catalogue does not know, by its kind; nothing is held against what is not known', () => {
    const { topology } = readTopology(
      'services: [{ name: a, storage: { primary: { system: homegrown, kind: document } } }]\ndata: { d: { owner: a, invariants: [unique, balance] } }',
      'a.yaml',
    );
    const ids =
      topology === undefined ? [] : lint(topology, { today }).findings.map(({ id }) => id);
    expect(ids).toEqual(['no-restore-evidence']);
  });
});

describe('rules', () => {
  test('have an id of the list each, a remedy and a price', () => {
    const all = [...rules, unusedIgnore];
    for (const { id, about, remedy, cost } of all) {
      expect(ruleIds).toContain(id);
      for (const sentence of [about, remedy, cost]) expect(sentence.length).toBeGreaterThan(4);
    }
    const observed = ['n-plus-one', 'serial-calls', 'chatty-boundary', 'undeclared-edge'];
    expect([...all.map(({ id }) => id), ...observed].toSorted()).toEqual([...ruleIds].toSorted());
  });

  test('a finding is ignored with a reason, an ignore that nothing needs is told, a rule can be turned off', () => {
    const text = [
      'services: [{ name: a, storage: { primary: postgresql, cache: redis } }]',
      'severities: { no-restore-evidence: off, cache-without-owner: error }',
      'ignore:',
      '  - { rule: cache-without-owner, at: a.cache, reason: values never change }',
      '  - { rule: sync-cycle, reason: was there once }',
    ].join('\n');
    const { topology } = readTopology(text, 'a.yaml');
    const result = topology === undefined ? undefined : lint(topology, { today });
    expect(result?.findings.map(({ id, at }) => `${at.line} ${id}`)).toEqual(['5 unused-ignore']);
    expect(result?.ignored).toMatchObject([
      { reason: 'values never change', finding: { severity: 'error' } },
    ]);
  });
});

describe('presets', () => {
  const expected: Readonly<Record<string, readonly string[]>> = {
    ecommerce: [],
    netflix: [],
    'uber-1': [
      'cache-without-owner',
      'shared-store',
      'single-point-of-failure',
      'single-point-of-failure',
    ],
    'uber-2': ['short-retention', 'stale-own-write', 'sync-chain', 'weak-store'],
    'uber-3': [],
    airbnb: [],
  };

  test.each(Object.entries(presets))(
    '%s reads, and has the findings that history had',
    (name, text) => {
      const { topology, problems: none } = readTopology(text, name);
      expect(none).toEqual([]);
      const found =
        topology === undefined ? [] : lint(topology, { today }).findings.map(({ id }) => id);
      expect(found.toSorted()).toEqual(expected[name]);
    },
  );

  test.each(Object.entries(presets))('%s says why of each choice', (_name, text) => {
    expect(text.split('\n').filter((line) => line.includes('#')).length).toBeGreaterThan(4);
  });
});

test('an application is a topology: its stores and flows, and no claim about what it cannot say', () => {
  const { topology, problems: none } = topologyOfApp(
    {
      name: 'shop',
      stores: {
        orders: { system: 'sqlite' },
        found: { system: 'duckdb' },
        files: { system: 'files' },
      },
      flows: {
        reports: { from: 'orders', to: 'found', tables: ['orders'] },
        receipts: { from: 'orders', to: 'files', tables: ['orders'] },
      },
    },
    'app.ts',
  );
  expect(none).toEqual([]);
  expect(topology?.storeOf('files')?.family).toBe('objects');
  const found = topology === undefined ? [] : lint(topology, { today }).findings;
  expect(found.map(({ id, subject }) => `${id} ${subject}`)).toEqual([
    'no-restore-evidence orders',
  ]);
});

test('the JSON Schema names every field and refuses others', () => {
  const schema = JSON.parse(JSON.stringify(jsonSchema(topologyShape, 'Topology'))) as {
    properties: Record<string, unknown>;
    additionalProperties: boolean;
  };
  expect(Object.keys(schema.properties)).toEqual(Object.keys(topologyShape.fields));
  expect(schema.additionalProperties).toBe(false);
});
