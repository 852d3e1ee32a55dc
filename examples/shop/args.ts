import { resolve } from 'node:path';
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { TallyError } from 'tallystick';
import { boundaries, type Boundary } from './verify/boundaries.ts';
import type { Fault } from './verify/plant.ts';

export const USAGE: string = `npm start -- [options]       runs the shop until Ctrl-C

  --for 10s            stop by itself after this long
  --json               print one JSON document on standard output at the end
  --rate 200           made-up orders per second
  --seed 1             which customers are made up
  --input FILE         replay order lines from a CSV file (plain or gzip) instead
  --servers            keep orders in PostgreSQL and sessions in Redis: those that TALLY_POSTGRES_URL and
                       TALLY_REDIS_URL name, or servers of its own
  --kill-every 2s      kill the worker with SIGKILL at random moments, about this often, and the servers
                       that are its own by turns
  --dir DIR            keep the stores in this folder, and go on from what is there
  --port 0             port of the status page on 127.0.0.1; 0 takes a free one
  --settle 60s         how long the stores may take to catch up at the end
  --plant FAULT        lose, double or spoil a row before the check: lost, doubled or stale,
                       with :BOUNDARY for one of ${boundaries.slice(0, 4).join(', ')},
                       ${boundaries.slice(4).join(', ')}
  --help               show this

Exits with 0 if every store holds what the orders say it should, 1 if not, 2 for a wrong option.
`;

export interface Options {
  readonly forMs: number | undefined;
  readonly json: boolean;
  readonly ordersPerSecond: number;
  readonly seed: number;
  readonly input: string | undefined;
  readonly servers: boolean;
  readonly killEveryMs: number | undefined;
  readonly dir: string | undefined;
  readonly port: number;
  readonly settleMs: number;
  readonly plant: { readonly fault: Fault; readonly boundary: Boundary } | undefined;
}

const config = {
  for: { type: 'string' },
  json: { type: 'boolean' },
  rate: { type: 'string' },
  seed: { type: 'string' },
  input: { type: 'string' },
  servers: { type: 'boolean' },
  'kill-every': { type: 'string' },
  dir: { type: 'string' },
  port: { type: 'string' },
  settle: { type: 'string' },
  plant: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig;

/** Reads the command line; `help` if that was asked for. Throws CONFIG_UNKNOWN_OPTION, CONFIG_INVALID. */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values, tokens, positionals } = parseArgs({
    args: [...args],
    options: config,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const known = Object.entries(config).find(([name]) => name === token.name)?.[1];
    if (known === undefined) throw unknown(token.rawName);
    if (known.type === 'string' && (token.value ?? '') === '')
      throw invalid(`--${token.name} needs a value`);
    if (known.type === 'boolean' && token.value !== undefined)
      throw invalid(`--${token.name} takes no value`);
  }
  if (positionals.length > 0)
    throw invalid(`${JSON.stringify(positionals[0])} is not an option; options begin with --`);
  if (values.help === true) return 'help';
  const given = values as Readonly<Record<string, string | undefined>>;
  return {
    forMs: duration('--for', given['for']),
    json: values.json === true,
    ordersPerSecond: number('--rate', given['rate'] ?? '200', 10_000),
    seed: number('--seed', given['seed'] ?? '1', 2 ** 31),
    input: given['input'] === undefined ? undefined : resolve(given['input']),
    servers: values.servers === true,
    killEveryMs: duration('--kill-every', given['kill-every']),
    dir: given['dir'] === undefined ? undefined : resolve(given['dir']),
    port: number('--port', given['port'] ?? '0', 65_535),
    settleMs: duration('--settle', given['settle'] ?? '60s') ?? 0,
    plant: plantOf(given['plant']),
  };
}

function plantOf(text: string | undefined): Options['plant'] {
  if (text === undefined) return undefined;
  const [word = '', named = 'receipts'] = text.split(':');
  const fault = (['lost', 'doubled', 'stale'] as const).find((known) => known === word);
  const boundary = boundaries.find((known) => known === named);
  if (fault === undefined) throw invalid(`--plant takes lost, doubled or stale, not ${word}`);
  if (boundary === undefined)
    throw invalid(`--plant knows the boundaries ${boundaries.join(', ')}, not ${named}`);
  return { fault, boundary };
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

function duration(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const durationMs = Number(amount) * (UNITS[unit] ?? Number.NaN);
  if (durationMs > 0 && durationMs < 2 ** 31) return durationMs;
  throw invalid(`${option} takes a duration such as 500ms, 10s or 5m, not ${JSON.stringify(text)}`);
}

function number(option: string, text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= max) return value;
  throw invalid(`${option} takes a whole number up to ${max}, not ${JSON.stringify(text)}`);
}

function invalid(what: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what, mend: 'run npm start -- --help' });
}

function unknown(option: string): TallyError {
  const near = Object.keys(config)
    .map((name) => ({ name, distance: editDistance(name, option.replace(/^-+/, '')) }))
    .toSorted((left, right) => left.distance - right.distance)[0];
  const hint = near !== undefined && near.distance <= 2 ? `did you mean --${near.name}? ` : '';
  return new TallyError('CONFIG_UNKNOWN_OPTION', {
    what: `there is no option ${option}`,
    mend: `${hint}npm start -- --help lists them`,
  });
}

/** Letters to add, leave out or change to make one word of another. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [at, letter] of from.split('').entries()) {
    const next = [at + 1];
    for (const [index, other] of to.split('').entries()) {
      const changed = (row[index] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(changed, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
