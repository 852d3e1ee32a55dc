import { writeFile } from 'node:fs/promises';
import { checkOneOf } from '../../core/options.ts';
import { baselineText, fingerprint, readBaseline } from '../../topology/baseline.ts';
import { countText, findingText } from '../../topology/finding-text.ts';
import { severities, type Finding, type Severity } from '../../topology/finding.ts';
import { lint, type LintResult } from '../../topology/lint.ts';
import { observe } from '../../topology/observed.ts';
import { sarif } from '../../topology/sarif.ts';
import { jsonSchema } from '../../topology/shape.ts';
import { topologyShape } from '../../topology/shapes.ts';
import type { Topology } from '../../topology/topology.ts';
import type { Call, Command } from '../command.ts';
import { readText } from '../read-file.ts';
import { loadTopology } from '../topology.ts';
import { version } from '../version.ts';

const formats = ['text', 'sarif'] as const;

/** `tally check`: what is known to go wrong with a topology. */
export const checkCommand: Command = {
  usage: 'tally check FILE',
  about:
    'Lint a topology (YAML, an application, or preset:NAME). Exits with 1 if there is a finding of --fail-on or worse.',
  options: {
    'fail-on': { takes: 'SEVERITY', about: 'error (default), warning or note' },
    format: { takes: 'FORMAT', about: 'text (default) or sarif' },
    baseline: { takes: 'FILE', about: 'tell only what this file does not accept' },
    'write-baseline': { takes: 'FILE', about: 'accept what is found now, and exit with 0' },
    spans: {
      takes: 'FILE',
      about: 'look at OpenTelemetry spans (OTLP JSON, one export a line) too',
    },
    'query-log': { takes: 'FILE', about: 'look at a query log (one JSON object a line) too' },
    schema: { about: 'print the JSON Schema of topology files for editors' },
  },
  file: 'optional',
  rest: { min: 0, max: 0 },
  run: async (call, { out, say, clock }) => {
    if (call.options['schema'] === true) {
      out(
        JSON.stringify(jsonSchema(topologyShape, 'Topology of services and stores'), undefined, 2),
      );
      return 0;
    }
    const failOn = checkOneOf(call.options['fail-on'] ?? 'error', '--fail-on', severities);
    const format = checkOneOf(call.options['format'] ?? 'text', '--format', formats);
    const topology = await loadTopology(call.file ?? 'topology.yaml');
    const today = new Date(clock.nowMs()).toISOString().slice(0, 10);
    const result = lint(topology, { today }, await observations(call, topology, say));
    const { 'write-baseline': write } = call.options;
    if (typeof write === 'string') {
      await writeFile(write, baselineText(result.findings));
      say(`${write} accepts ${result.findings.length} findings`);
      return 0;
    }
    const { findings, accepted } = await withoutBaseline(call, result);
    if (format === 'sarif') out(JSON.stringify(sarif(findings, await version()), undefined, 2));
    else if (call.json)
      out(
        JSON.stringify({
          topology: topology.name,
          findings,
          ignored: result.ignored,
          accepted,
          leftOut: result.leftOut,
        }),
      );
    else out(text(findings, result, accepted));
    return findings.some(({ severity }) => atLeast(severity, failOn)) ? 1 : 0;
  },
};

async function observations(
  call: Call,
  topology: Topology,
  say: (text: string) => void,
): Promise<readonly Finding[]> {
  const { spans, 'query-log': queryLog } = call.options;
  const observed = observe(topology, {
    ...(typeof spans === 'string'
      ? { spans: { text: await readText(spans, 'the spans'), file: spans } }
      : {}),
    ...(typeof queryLog === 'string'
      ? { queryLog: { text: await readText(queryLog, 'the query log'), file: queryLog } }
      : {}),
  });
  for (const note of observed.notes) say(note);
  return observed.findings;
}

async function withoutBaseline(
  call: Call,
  { findings }: LintResult,
): Promise<{ readonly findings: readonly Finding[]; readonly accepted: number }> {
  const { baseline } = call.options;
  if (typeof baseline !== 'string') return { findings, accepted: 0 };
  const known = readBaseline(await readText(baseline, 'the baseline'), baseline);
  const fresh = findings.filter((finding) => !known.has(fingerprint(finding)));
  return { findings: fresh, accepted: findings.length - fresh.length };
}

function atLeast(severity: Severity, least: Severity): boolean {
  return severities.indexOf(severity) <= severities.indexOf(least);
}

function text(
  findings: readonly Finding[],
  { ignored, leftOut }: LintResult,
  accepted: number,
): string {
  const besides = [
    ...(ignored.length === 0 ? [] : [`${ignored.length} ignored, each with its reason`]),
    ...(accepted === 0 ? [] : [`${accepted} accepted by the baseline`]),
    ...Object.entries(leftOut).map(([rule, count]) => `${count} more of ${rule}`),
  ];
  return [
    ...findings.map((finding) => `${findingText(finding)}\n`),
    [countText(findings), ...besides].join('; '),
  ].join('\n');
}
