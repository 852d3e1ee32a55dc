import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isTallyError } from '../core/errors.ts';
import type { Finding } from './finding.ts';
import { observe } from './observed.ts';
import { templateOf } from './observed/operation.ts';
import { CHATTY_MIN, REPEATED_MIN } from './observed/patterns.ts';
import { readTopology, type Topology } from './topology.ts';

const { topology } = readTopology(
  [
    'services:',
    '  - { name: web, calls: [orders] }',
    '  - { name: orders, storage: { primary: postgresql, cache: redis } }',
    '  - { name: stock, storage: { primary: mysql } }',
  ].join('\n'),
  'shop.yaml',
);

interface Span {
  readonly trace: string;
  readonly id: string;
  readonly parent?: string;
  readonly service?: string;
  readonly startMs?: number;
  readonly ms?: number;
  readonly name?: string;
  readonly attributes?: Readonly<Record<string, string>>;
}

function exported(spans: readonly Span[]): string {
  return spans
    .map(
      ({
        trace,
        id,
        parent = '',
        service = 'orders',
        startMs = 0,
        ms = 1,
        name = id,
        attributes = {},
      }) =>
        JSON.stringify({
          resourceSpans: [
            {
              resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
              scopeSpans: [
                {
                  spans: [
                    {
                      traceId: trace,
                      spanId: id,
                      parentSpanId: parent,
                      name,
                      startTimeUnixNano: String(
                        BigInt(Math.round((1_800_000_000_000 + startMs) * 1_000)) * 1_000n,
                      ),
                      endTimeUnixNano: String(
                        BigInt(Math.round((1_800_000_000_000 + startMs + ms) * 1_000)) * 1_000n,
                      ),
                      attributes: Object.entries(attributes).map(([key, stringValue]) => ({
                        key,
                        value: { stringValue },
                      })),
                    },
                  ],
                },
              ],
            },
          ],
        }),
    )
    .join('\n');
}

function findings(spans: readonly Span[]): readonly Finding[] {
  return observe(topology as Topology, { spans: { text: exported(spans), file: 'spans.json' } })
    .findings;
}

const told = (spans: readonly Span[]): readonly string[] =>
  findings(spans)
    .map(({ id, subject }) => `${id} ${subject}`)
    .toSorted();

/** A question for each of `count` rows. */
function perRow(trace: string, count: number, system = 'postgresql'): readonly Span[] {
  return Array.from({ length: count }, (_, index) => ({
    trace,
    id: `${trace}-q${index}`,
    parent: `${trace}-root`,
    startMs: index * 2,
    attributes: {
      'db.system': system,
      'db.statement': `SELECT * FROM lines WHERE order_id = ${index}`,
    },
  }));
}

/** Different questions one after another, each slow. */
function inRow(trace: string, count: number): readonly Span[] {
  return Array.from({ length: count }, (_, index) => ({
    trace,
    id: `${trace}-s${index}`,
    parent: `${trace}-root`,
    startMs: index * 30,
    ms: 25,
    attributes: {
      'db.system': 'postgresql',
      'db.query.text': `SELECT a FROM table_${'abcdefgh'[index]}`,
    },
  }));
}

function calls(trace: string, count: number): readonly Span[] {
  return Array.from({ length: count }, (_, index) => ({
    trace,
    id: `${trace}-c${index}`,
    parent: `${trace}-p${index % 4}`,
    service: 'web',
    name: `GET /${'abcdefgh'[index % 8]}`,
    attributes: { 'peer.service': 'orders' },
  }));
}

describe('what is seen in spans', () => {
  test('one question for each row, from five on; an error from ten on', () => {
    expect(told(perRow('t', REPEATED_MIN - 1))).toEqual([]);
    expect(findings(perRow('t', REPEATED_MIN))).toMatchObject([
      { id: 'n-plus-one', severity: 'warning', file: 'shop.yaml', at: { line: 3 } },
    ]);
    expect(findings(perRow('t', 12))[0]).toMatchObject({ severity: 'error' });
  });

  test('different slow questions in a row; not those that overlap, nor those that are quick', () => {
    expect(told(inRow('t', 3))).toEqual([expect.stringMatching(/^serial-calls orders/)]);
    expect(told(inRow('t', 2))).toEqual([]);
    expect(told(inRow('t', 4).map((span) => ({ ...span, startMs: 0 })))).toEqual([]);
    expect(told(inRow('t', 4).map((span) => ({ ...span, ms: 5 })))).toEqual([]);
  });

  test('a boundary that one request crosses again and again', () => {
    expect(told(calls('t', CHATTY_MIN))).toEqual(['chatty-boundary web → orders']);
    expect(told(calls('t', CHATTY_MIN - 1))).toEqual([]);
  });

  test('what nobody declared: a service, a call, a store; not what is declared by system or alias', () => {
    const store = (service: string, system: string): Span => ({
      trace: 't',
      id: `${service}${system}`,
      service,
      attributes: { 'db.system.name': system },
    });
    expect(
      told([store('orders', 'postgresql'), store('orders', 'redis'), store('stock', 'mariadb')]),
    ).toEqual([]);
    expect(
      told([store('orders', 'mongodb'), store('ghost', 'mysql'), store('web', 'postgresql')]),
    ).toEqual([
      'undeclared-edge ghost',
      'undeclared-edge orders → mongodb',
      'undeclared-edge web → postgresql',
    ]);
  });

  test('a call is seen from the span of the one who was called', () => {
    expect(
      told([
        { trace: 't', id: 'a', service: 'orders', name: 'GET' },
        { trace: 't', id: 'b', parent: 'a', service: 'stock', name: 'handle' },
      ]),
    ).toEqual(['undeclared-edge orders → stock']);
  });

  test('an empty recording is no proof, and says so', () => {
    const { findings: none, notes } = observe(topology as Topology, {
      spans: { text: exported([{ trace: 't', id: 'a' }]), file: 's' },
    });
    expect(none).toEqual([]);
    expect(notes[0]).toContain('are clients instrumented?');
  });
});

/** Several requests, each with some of the patterns. */
const recordings: fc.Arbitrary<readonly Span[]> = fc
  .array(
    fc.record({
      rows: fc.integer({ min: 0, max: 14 }),
      serial: fc.integer({ min: 0, max: 5 }),
      crossings: fc.integer({ min: 0, max: 20 }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((requests) =>
    requests.flatMap(({ rows, serial, crossings }, index) => [
      ...perRow(`r${index}`, rows),
      ...inRow(`s${index}`, serial),
      ...calls(`c${index}`, crossings),
    ]),
  );

describe('metamorphic laws', () => {
  test('permute: the order of the spans does not matter', () => {
    fc.assert(
      fc.property(recordings, fc.integer(), (spans, seed) => {
        const shuffled = spans.toSorted(
          (left, right) => hash(left.id, seed) - hash(right.id, seed),
        );
        expect(
          findings(shuffled)
            .map(({ why }) => why)
            .toSorted(),
        ).toEqual(
          findings(spans)
            .map(({ why }) => why)
            .toSorted(),
        );
      }),
      { numRuns: 60 },
    );
  });

  test('duplicate: a span that is exported twice counts once', () => {
    fc.assert(
      fc.property(recordings, (spans) => {
        expect(findings([...spans, ...spans])).toEqual(findings(spans));
      }),
      { numRuns: 40 },
    );
  });

  test('amplify: the same requests once more are the same findings, in twice the traces', () => {
    fc.assert(
      fc.property(recordings, (spans) => {
        const again = spans.map((span) => ({ ...span, trace: `z${span.trace}` }));
        expect(told([...spans, ...again])).toEqual(told(spans));
      }),
      { numRuns: 40 },
    );
  });

  test('add: other requests neither hide findings nor invent them', () => {
    fc.assert(
      fc.property(recordings, recordings, (one, other) => {
        const moved = other.map((span) => ({ ...span, trace: `y${span.trace}` }));
        expect(told([...one, ...moved])).toEqual(
          [...new Set([...told(one), ...told(moved)])].toSorted(),
        );
      }),
      { numRuns: 40 },
    );
  });

  test('add: a span of another parent in the same request hides nothing', () => {
    fc.assert(
      fc.property(recordings, (spans) => {
        const noise = spans.map(({ trace }, index) => ({
          trace,
          id: `noise${index}`,
          parent: `elsewhere${index}`,
          attributes: { 'db.system': 'redis', 'db.statement': 'GET key' },
        }));
        const before = told(spans);
        const after = told([...spans, ...noise]);
        expect(before.filter((finding) => !after.includes(finding))).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  test('remove: a span less never adds a repeated question, a chatty boundary or an edge', () => {
    fc.assert(
      fc.property(recordings, fc.integer(), (spans, seed) => {
        const monotone = (found: readonly string[]): readonly string[] =>
          found.filter((finding) => !finding.startsWith('serial-calls'));
        const fewer = spans.filter(({ id }) => hash(id, seed) % 3 !== 0);
        const before = new Set(told(spans));
        expect(monotone(told(fewer)).filter((finding) => !before.has(finding))).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test('the corner that is not monotone, pinned: what ran at the same time as two is gone, and they are a row', () => {
    const [first, second, third] = inRow('t', 3);
    const across: Span = {
      ...(second as Span),
      id: 'across',
      startMs: 0,
      ms: 20,
      attributes: { 'db.system': 'redis', 'db.statement': 'GET x' },
    };
    const spans = [first, second, third].filter((span) => span !== undefined);
    expect(told(spans).filter((finding) => finding.startsWith('serial'))).toHaveLength(1);
    const hidden = told([...spans, across]).filter((finding) => finding.startsWith('serial'));
    expect(hidden).toHaveLength(1);
    expect(hidden).not.toEqual(told(spans));
  });
});

function hash(text: string, seed: number): number {
  let value = seed;
  for (const character of text) value = (Math.imul(value, 31) + character.charCodeAt(0)) | 0;
  return Math.abs(value);
}

describe('a query log', () => {
  const line = (fields: Readonly<Record<string, unknown>>): string =>
    JSON.stringify({
      trace: 't',
      service: 'orders',
      store: 'primary',
      statement: 'SELECT 1',
      startMs: 0,
      durationMs: 1,
      ...fields,
    });
  const read = (text: string): readonly Finding[] =>
    observe(topology as Topology, { queryLog: { text, file: 'queries.jsonl' } }).findings;

  test('is read by the same rules, with the declared names of stores', () => {
    const text = Array.from({ length: 6 }, (_, id) =>
      line({ statement: `SELECT * FROM lines WHERE id = ${id}`, startMs: id }),
    ).join('\n');
    expect(read(text).map(({ id, subject }) => `${id} ${subject}`)).toEqual([
      'n-plus-one orders → primary: SELECT * FROM lines WHERE id = ?',
    ]);
    expect(read(line({ store: 'serch' }))).toMatchObject([{ id: 'undeclared-edge' }]);
  });

  test('a line that was cut off at the end is left out; any other is refused with its number', () => {
    const lines = Array.from({ length: 5 }, () => line({})).join('\n');
    expect(read(`${lines}\n{"trace": "t", "serv`)).toHaveLength(1);
    for (const [text, where] of [
      [`${line({})}\nnot json\n${line({})}`, 'queries.jsonl:2'],
      [`${line({})}\n${line({ startMs: 'soon' })}\n`, 'queries.jsonl:2'],
      ['[]\n', 'queries.jsonl:1'],
    ] as const) {
      let thrown: unknown;
      try {
        read(text);
      } catch (error) {
        thrown = error;
      }
      expect(isTallyError(thrown, 'INPUT_INVALID')).toBe(true);
      expect(String(thrown)).toContain(where);
    }
  });
});

test('a statement without its values', () => {
  expect(templateOf("SELECT * FROM a WHERE b = 'it''s' AND c IN (1, 2, 3) AND d = $1")).toBe(
    'SELECT * FROM a WHERE b = ? AND c IN (?) AND d = ?',
  );
  expect(templateOf('GET user:123')).toBe('GET user?');
  expect(templateOf('SELECT col1, t2.x FROM t2 WHERE id = 7')).toBe(
    'SELECT col1, t2.x FROM t2 WHERE id = ?',
  );
});
