import process from 'node:process';
import { parseDocument } from 'yaml';
import { decide } from '../src/advisor/decide.ts';
import { flipsOf } from '../src/advisor/sensitivity.ts';
import { dataModels } from '../src/advisor/system.ts';
import type { Workload } from '../src/advisor/workload.ts';
import { lint, observe, readTopology } from '../src/topology/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { median } from './flow.ts';

const LINT_BAR_MS = 1_000;
const SPANS_BAR = 100_000;
const ADVISE_BAR_MS = 50;

/**
 * The answers that a person or a pipeline waits for: a lint of a thousand services beside the bare parse of its YAML, spans
 * beside the bare parse of their JSON, an answer of the advisor with everything that would change it.
 */
export const architectureBench: Bench = {
  name: 'architecture',
  about: 'lint, spans and advice, beside the bare parse of what they read',
  run: async (options) => run(options),
};

function run({ quick }: BenchOptions): BenchResult {
  const rounds = quick ? 1 : 9;
  const services = lintOf(quick ? 50 : 1_000, rounds);
  const spans = spansOf(quick ? 2_000 : 200_000, quick ? 1 : 5);
  const advice = adviceOf(rounds);
  return {
    claims: [
      {
        claim: '1 000 services, from the text to the findings, median',
        bar: LINT_BAR_MS,
        measured: services.wholeMs,
        unit: 'ms',
        met: services.wholeMs <= LINT_BAR_MS,
      },
      {
        claim: '1 000 services, the first time in a process',
        bar: LINT_BAR_MS,
        measured: services.firstMs,
        unit: 'ms',
        met: services.firstMs <= LINT_BAR_MS,
      },
      { claim: 'the processor’s time for it, median', measured: services.cpuMs, unit: 'ms' },
      { claim: 'of that the rules', measured: services.rulesMs, unit: 'ms' },
      { claim: 'of that the bare parse of the YAML', measured: services.parseMs, unit: 'ms' },
      {
        claim: 'spans, from the text to the findings',
        bar: SPANS_BAR,
        measured: spans.perSecond,
        unit: 'spans/s',
        met: spans.perSecond >= SPANS_BAR,
      },
      {
        claim: 'spans for each second of the processor',
        measured: spans.perCpuSecond,
        unit: 'spans/s',
      },
      { claim: 'the bare JSON.parse of the same', measured: spans.rawPerSecond, unit: 'spans/s' },
      {
        claim: 'advice with what would change it, the slowest model, median',
        bar: ADVISE_BAR_MS,
        measured: advice.slowestMs,
        unit: 'ms',
        met: advice.slowestMs <= ADVISE_BAR_MS,
      },
      { claim: 'the first advice in a process', measured: advice.firstMs, unit: 'ms' },
    ],
    details: { services, spans, advice },
  };
}

function lintOf(
  count: number,
  rounds: number,
): Record<'firstMs' | 'wholeMs' | 'cpuMs' | 'rulesMs' | 'parseMs', number> {
  const text = topologyText(count);
  const [whole, cpu, rules, parse]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let round = 0; round < rounds; round += 1) {
    const used = process.cpuUsage();
    const start = performance.now();
    const { topology } = readTopology(text, 'services.yaml');
    const read = performance.now();
    if (topology === undefined) throw new Error('the topology has problems');
    const { findings } = lint(topology, { today: '2026-11-30' });
    const end = performance.now();
    if (findings.length === 0) throw new Error('nothing was found');
    cpu.push(cpuMs(used));
    whole.push(end - start);
    rules.push(end - read);
    parseDocument(text, { prettyErrors: false, uniqueKeys: false, logLevel: 'silent' });
    parse.push(performance.now() - end);
  }
  return {
    firstMs: Math.round(whole[0] ?? 0),
    wholeMs: Math.round(median(whole)),
    cpuMs: Math.round(median(cpu)),
    rulesMs: Math.round(median(rules) * 10) / 10,
    parseMs: Math.round(median(parse)),
  };
}

/** What the process used of the processor since then: on a busy machine the clock measures the others too. */
function cpuMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1_000;
}

/** Services in layers, so that chains end; a few of each kind of mistake. */
function topologyText(count: number): string {
  const services = Array.from({ length: count }, (_, index) => {
    const next = index + 7 < count ? `      - { to: s${index + 7}, timeout: 200ms }\n` : '';
    return `  - name: s${index}\n    instances: 3\n    availability: 99.95%\n    latency: 20ms\n    storage:\n      primary: { system: postgresql, configuration: sync-standby, copies: 2 }\n      cache: redis\n      events: { system: kafka, copies: 3, retention: 7d }\n    calls:\n      - { to: s${(index * 3) % count}, mode: async }\n${next}`;
  });
  const data = Array.from(
    { length: count },
    (_, index) => `  d${index}: { owner: s${index}, invariants: [unique] }\n`,
  );
  const flows = Array.from(
    { length: count },
    (_, index) =>
      `  - { from: s${index}.primary, to: s${index}.events, by: outbox, data: [d${index}] }\n`,
  );
  return `services:\n${services.join('')}data:\n${data.join('')}flows:\n${flows.join('')}`;
}

function spansOf(
  count: number,
  rounds: number,
): Record<'perSecond' | 'perCpuSecond' | 'rawPerSecond' | 'megabytes', number> {
  const text = spansText(count);
  const { topology } = readTopology(topologyText(50), 'services.yaml');
  if (topology === undefined) throw new Error('the topology has problems');
  const [whole, cpu, raw]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round += 1) {
    const used = process.cpuUsage();
    const start = performance.now();
    const { findings } = observe(topology, { spans: { text, file: 'spans.json' } });
    const end = performance.now();
    if (findings.length === 0) throw new Error('nothing was found');
    cpu.push(cpuMs(used));
    whole.push(end - start);
    for (const line of text.split('\n')) JSON.parse(line);
    raw.push(performance.now() - end);
  }
  const perSecond = (times: readonly number[]): number =>
    Math.round((count * 1_000) / median(times));
  return {
    perSecond: perSecond(whole),
    perCpuSecond: perSecond(cpu),
    rawPerSecond: perSecond(raw),
    megabytes: Math.round(text.length / 1e5) / 10,
  };
}

/** Exports of a hundred spans each, requests of twenty: as a collector writes them. */
function spansText(count: number): string {
  const lines: string[] = [];
  const attribute = (key: string, stringValue: string): unknown => ({
    key,
    value: { stringValue },
  });
  for (let first = 0; first < count; first += 100) {
    const spans = Array.from({ length: 100 }, (_, offset) => {
      const index = first + offset;
      const trace = Math.floor(index / 20);
      return {
        traceId: trace.toString(16).padStart(32, '0'),
        spanId: index.toString(16).padStart(16, '0'),
        parentSpanId: index % 20 === 0 ? '' : (trace * 20).toString(16).padStart(16, '0'),
        name: index % 20 === 0 ? 'GET /orders/:id' : 'SELECT lines',
        kind: index % 20 === 0 ? 2 : 3,
        startTimeUnixNano: String(1_800_000_000_000_000_000n + BigInt(index) * 2_000_000n),
        endTimeUnixNano: String(1_800_000_000_001_000_000n + BigInt(index) * 2_000_000n),
        attributes:
          index % 20 === 0
            ? [attribute('http.route', '/orders/:id'), attribute('url.scheme', 'https')]
            : [
                attribute('db.system.name', 'postgresql'),
                attribute('db.namespace', 'orders'),
                attribute(
                  'db.query.text',
                  `SELECT * FROM lines WHERE order_id = ${index} AND kind = 'x'`,
                ),
              ],
      };
    });
    lines.push(
      JSON.stringify({
        resourceSpans: [
          { resource: { attributes: [attribute('service.name', 's1')] }, scopeSpans: [{ spans }] },
        ],
      }),
    );
  }
  return lines.join('\n');
}

function adviceOf(rounds: number): Record<'firstMs' | 'slowestMs', number> {
  const once = (workload: Workload): number => {
    const start = performance.now();
    flipsOf(workload, decide(workload));
    return performance.now() - start;
  };
  const workloads = dataModels.map((model): Workload => ({
    model,
    bytes: 1e12,
    itemBytes: 1e5,
    latencyMs: 50,
    durability: 'disk',
    consistency: 'session',
    transactions: 'item',
    reach: 'region',
    survives: 1,
    runs: ['postgresql', 'redis', 'kafka'],
  }));
  const [first] = workloads;
  const firstMs = first === undefined ? 0 : once(first);
  const medians = workloads.map((workload) =>
    median(Array.from({ length: rounds * 3 }, () => once(workload))),
  );
  return {
    firstMs: Math.round(firstMs * 10) / 10,
    slowestMs: Math.round(Math.max(...medians) * 100) / 100,
  };
}
