import { styleText } from 'node:util';
import type { ShopStatus } from './protocol.ts';
import { readsOf, type Report } from './report.ts';
import type { Kills } from './supervisor.ts';

export interface ScreenParts {
  readonly seconds: number;
  readonly lives: readonly ShopStatus[];
  readonly kills: Kills;
  readonly outages: Readonly<Record<string, number>>;
  readonly statusUrl: string;
}

/** What the whole shop looks like on 80 × 24 characters. */
export function screenOf(parts: ScreenParts): readonly string[] {
  const { seconds, lives, kills, outages, statusUrl } = parts;
  const status = lives.at(-1);
  if (status === undefined) return [title(seconds, statusUrl), '', '  opening eight stores …'];
  const { app, counts } = status;
  const captured = app.lanes.map(({ lane, captured: changes, log }) => {
    const megabytes = (log.bytes / 2 ** 20).toFixed(1);
    return `${lane} → log: ${number(changes)} changes captured, ${megabytes} MiB kept`;
  });
  const reads = readsOf(lives);
  const outcomes = Object.entries(reads.outcomes).map(
    ([name, count]) => `${number(count)} ${name}`,
  );
  return [
    title(seconds, statusUrl),
    `  ${number(counts['orders'])} orders, ${number(counts['lines'])} lines, ${number(counts['customers'])} customers`,
    `  ${captured.join('; ')}`,
    '',
    styleText(
      'bold',
      `  ${'boundary'.padEnd(14)} ${'into'.padEnd(9)}${['rate/s', 'p50 ms', 'p99 ms', 'behind', 'parked', 'drift'].map((name) => name.padStart(8)).join('')}`,
    ),
    ...app.flows.map((flow) => flowLine(flow, reads.wrong[flow.to] ?? 0)),
    '',
    `  own writes read back: ${outcomes.join(', ') || 'none yet'}`,
    `  they waited ${milliseconds(reads.waitMs.p50)} ms (p50), ${milliseconds(reads.waitMs.p99)} ms (p99)`,
    ...(kills.total === 0
      ? []
      : [
          `  killed and started again: ${number(kills.total)}${Object.entries(outages)
            .map(([name, count]) => `, ${name} ${number(count)}`)
            .join('')}`,
        ]),
  ];
}

/** How often the worker was killed, and each of the servers that were. */
function killsOf(kills: Kills, outages: Readonly<Record<string, number>>): string {
  const servers = Object.entries(outages).map(([name, count]) => `${number(count)} of ${name}`);
  const total = `${number(kills.total)} kills`;
  return servers.length === 0 ? total : `${total} of the worker, ${servers.join(', ')}`;
}

function title(seconds: number, statusUrl: string): string {
  const left = ` the shop · ${seconds.toFixed(0)} s`;
  return styleText('inverse', `${left}${`${statusUrl} `.padStart(79 - left.length)}`);
}

function flowLine(flow: ShopStatus['app']['flows'][number], wrong: number): string {
  const cells = [
    number(flow.ratePerSecond),
    milliseconds(flow.recentLagMs.p50),
    milliseconds(flow.recentLagMs.p99),
    number(flow.behind),
  ].map((cell) => cell.padStart(8));
  const state =
    flow.worker.kind === 'running' && flow.state === 'streaming'
      ? ''
      : styleText('yellow', ` ${flow.worker.kind === 'running' ? flow.state : flow.worker.kind}`);
  return `  ${flow.flow.padEnd(14)} ${flow.to.padEnd(9)}${cells.join('')}${alarm(flow.parked)}${alarm(wrong)}${state}`;
}

/** A number that should be 0. */
function alarm(count: number): string {
  const text = number(count).padStart(8);
  return count === 0 ? text : styleText(['bold', 'red'], text);
}

function number(count: number | undefined): string {
  return (count ?? 0).toLocaleString('en');
}

function milliseconds(duration: number | null): string {
  return duration === null
    ? '·'
    : duration < 100
      ? duration.toFixed(1)
      : number(Math.round(duration));
}

/** One line of the same, for a terminal that is none. */
export function lineOf({ seconds, lives, kills, outages }: ScreenParts): string {
  const status = lives.at(-1);
  if (status === undefined) return `${seconds.toFixed(0)} s: opening the stores`;
  const behind = status.app.flows.reduce((most, flow) => Math.max(most, flow.behind), 0);
  const slowest = status.app.flows.reduce(
    (most, { recentLagMs }) => Math.max(most, recentLagMs.p99 ?? 0),
    0,
  );
  return `${seconds.toFixed(0)} s: ${number(status.counts['orders'])} orders, ${number(status.counts['lines'])} lines; slowest boundary p99 ${milliseconds(slowest)} ms, ${number(behind)} records behind; ${killsOf(kills, outages)}`;
}

/** What was found in the end, for people. */
export function summaryOf(report: Report): readonly string[] {
  const { orders, lines, changesCaptured, drift, kills, outages, leftBehind, badLines, ok } =
    report;
  const checked = Object.entries(drift).map(([boundary, found]) => {
    const rows = `  ${boundary.padEnd(16)}${number(found.checked).padStart(10)} rows`;
    const parts = (['lost', 'extra', 'stale'] as const).filter((part) => found[part] > 0);
    const wrong = parts.map((part) => `${number(found[part])} ${part}`).join(', ');
    const line = `${rows}  ${wrong === '' ? styleText('green', 'as they should be') : styleText('red', wrong)}`;
    return [line, ...found.examples.map((example) => `      ${example}`)].join('\n');
  });
  return [
    '',
    `${number(orders)} orders with ${number(lines)} lines, ${number(changesCaptured)} changes captured, ${killsOf(kills, outages)}`,
    ...(badLines.total === 0 ? [] : [`${number(badLines.total)} lines could not be sold:`]),
    ...badLines.first.map(({ line, reason }) => `  line ${line}: ${reason}`),
    'Every target against what the orders say it should hold:',
    ...checked,
    ...leftBehind.map((store) => styleText('red', `  left behind: ${store}`)),
    ok
      ? styleText('green', 'Nothing lost, doubled or left behind.')
      : styleText('red', 'Not as it should be.'),
  ];
}
