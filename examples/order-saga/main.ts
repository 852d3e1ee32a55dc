import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isTallyError, TallyError } from 'tallystick';
import { runOrders, type Report, type RunOptions } from './run.ts';
import { findServers } from './servers.ts';

const USAGE = `node examples/order-saga/main.ts [options]     (npm run order-saga -- [options])

  --orders 200         orders to place
  --width 16           orders under way at the same time
  --faults 0.2         the share of attempts that go wrong: errors before and after the effect,
                       timeouts whose effect comes late, refusals
  --workers 1          processes that run sagas
  --kills 0            times that one of them is killed with SIGKILL, at random moments
  --kill-every 300     about how long a worker lives that is to be killed, in milliseconds
  --servers            orders in PostgreSQL and payments in Redis: those that TALLY_POSTGRES_URL and
                       TALLY_REDIS_URL name, or servers of its own
  --seed 1             which orders, and which attempts go wrong
  --dir DIR            keep the stores in this folder; it must be new
  --json               print the report as JSON
  --help               show this

Exits with 0 if the stores hold what the sagas say, 1 if not, 2 for a wrong option.
`;

/** Short, so that late effects meet sagas that have gone back. */
const PATIENCE = { timeout: '300ms', pause: '100ms' } as const;

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const code = isTallyError(error) ? `${error.code}: ` : '';
  process.stderr.write(`${code}${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = isTallyError(error, 'CONFIG_INVALID') ? 2 : 1;
}

async function main(args: readonly string[]): Promise<number> {
  const values = valuesOf(args);
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const dir =
    values.dir === undefined ? await mkdtemp(join(tmpdir(), 'tally-orders-')) : resolve(values.dir);
  await mkdir(dir, { recursive: true });
  try {
    const options = {
      orders: number('--orders', values.orders, 1_000_000),
      width: number('--width', values.width, 1_000),
      faults: number('--faults', values.faults, 1),
      workers: number('--workers', values.workers, 100),
      kills: number('--kills', values.kills, 1_000_000),
      killEveryMs: number('--kill-every', values['kill-every'], 600_000),
      seed: number('--seed', values.seed, 2 ** 31),
    };
    const report = await run(dir, values.servers === true, options);
    process.stdout.write(values.json === true ? `${JSON.stringify(report)}\n` : textOf(report));
    return report.problems.length === 0 ? 0 : 1;
  } finally {
    if (values.dir === undefined) await rm(dir, { recursive: true, force: true });
  }
}

async function run(
  dir: string,
  onServers: boolean,
  options: Omit<RunOptions, 'place' | 'say' | 'patience'>,
): Promise<Report> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const common = { ...options, say, patience: PATIENCE };
  if (!onServers) return runOrders({ ...common, place: { dir } });
  await using found = await findServers();
  return await runOrders({ ...common, place: { dir, servers: found.servers } });
}

function textOf(report: Report): string {
  const { orders, completed, compensated, parked, kills, tookMs, problems } = report;
  const lines = [
    `${orders} orders in ${(tookMs / 1_000).toFixed(1)} s: ${completed} completed, ${compensated} compensated, ${parked} parked`,
    `${kills} kills`,
    problems.length === 0
      ? 'money and stock are conserved, no effect is doubled, none is missing'
      : problems.slice(0, 50).join('\n'),
  ];
  return `${lines.join('\n')}\n`;
}

function valuesOf(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        orders: { type: 'string', default: '200' },
        width: { type: 'string', default: '16' },
        faults: { type: 'string', default: '0.2' },
        workers: { type: 'string', default: '1' },
        kills: { type: 'string', default: '0' },
        'kill-every': { type: 'string', default: '300' },
        servers: { type: 'boolean' },
        seed: { type: 'string', default: '1' },
        dir: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
}

function number(option: string, text: string, max: number): number {
  const value = Number(text);
  const isFine =
    text !== '' && value >= 0 && value <= max && (Number.isInteger(value) || max === 1);
  if (isFine) return value;
  throw invalid(`${option} takes a number from 0 to ${max}, not ${JSON.stringify(text)}`);
}

function invalid(what: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what, mend: 'see --help' });
}
