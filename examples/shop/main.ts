import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isTallyError, TallyError } from 'tallystick';
import { readOptions, USAGE, type Options } from './args.ts';
import { checkInput } from './input.ts';
import { Outages } from './outages.ts';
import { reportOf, type Report } from './report.ts';
import { lineOf, screenOf, summaryOf, type ScreenParts } from './screen.ts';
import { serveStatus } from './status-server.ts';
import { Supervisor } from './supervisor.ts';
import type { ShopServers } from './servers.ts';
import { openOwner } from './verify/owner.ts';
import { plantFault } from './verify/plant.ts';
import { compareAll } from './verify/verify.ts';

// The supervisor: starts the shop in a worker process, shows how it stands, and at the end checks every
// store against the orders. `npm start -- --help` lists the options.

const SCREEN_MS = 500;
const LINE_MS = 2_000;
/** A server is killed this much more rarely than the worker. */
const OUTAGES_RARER = 1.5;

try {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(USAGE);
  else process.exitCode = (await run(options)).ok ? 0 : 1;
} catch (error) {
  const isUsage = isTallyError(error, 'CONFIG_UNKNOWN_OPTION', 'CONFIG_INVALID');
  const code = isTallyError(error) ? `${error.code}: ` : '';
  process.stderr.write(`${code}${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = isUsage ? 2 : 1;
}

async function run(options: Options): Promise<Report> {
  if (options.input !== undefined) await checkInput(options.input);
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'tally-shop-')));
  await mkdir(dir, { recursive: true }).catch((cause: unknown) => {
    throw new TallyError('STORE_UNREACHABLE', {
      what: `the folder of the stores cannot be made: ${String(cause)}`,
      where: dir,
      mend: 'give --dir a folder that this user may write',
      cause,
    });
  });
  try {
    await using found = await serversOf(dir, options);
    const report = await runIn(dir, found, options);
    const summary = `${summaryOf(report).join('\n')}\n`;
    if (!options.json) process.stdout.write(summary);
    else {
      process.stderr.write(summary);
      process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    }
    return report;
  } finally {
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
  }
}

/** The servers, if any were asked for. Nothing of them is even loaded otherwise. */
async function serversOf(
  dir: string,
  { servers, dir: given }: Options,
): Promise<ShopServers | undefined> {
  checkFolder(dir, servers);
  if (!servers) return undefined;
  const { findServers } = await import('./servers.ts');
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  return findServers({ dir, data: given === undefined ? 'removed' : 'kept', say });
}

/** A folder holds one shop: with its orders in a file, or on servers. */
function checkFolder(dir: string, onServers: boolean): void {
  if (!existsSync(join(dir, onServers ? 'orders.db' : 'servers.db'))) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `the shop in this folder keeps its orders ${onServers ? 'in a file' : 'on a server'}`,
    where: dir,
    mend: `${onServers ? 'leave out' : 'add'} --servers, or give --dir another folder`,
  });
}

async function runIn(
  dir: string,
  found: ShopServers | undefined,
  options: Options,
): Promise<Report> {
  const servers = found?.servers;
  const { seed, ordersPerSecond, input } = options;
  const startedAtMs = performance.now();
  const secondsSince = (): number => (performance.now() - startedAtMs) / 1_000;
  const supervisor = new Supervisor({ dir, servers, seed, ordersPerSecond, input });
  const outages = new Outages(found?.own ?? [], seed);
  await using page = await serveStatus(options.port, () => ({
    seconds: secondsSince(),
    kills: supervisor.kills,
    outages: outages.kills,
    ...supervisor.lives.at(-1),
  }));
  const screen = showLive(() => ({
    seconds: secondsSince(),
    lives: supervisor.lives,
    kills: supervisor.kills,
    outages: outages.kills,
    statusUrl: page.url,
  }));
  const leftBehind = await serveCustomers(options, supervisor, outages).finally(() =>
    screen.stop(),
  );
  const seconds = Number(secondsSince().toFixed(2));
  if (options.plant !== undefined) await plantFault(dir, options.plant, servers);
  using owner = await openOwner(dir, servers);
  const drift = await compareAll(owner, dir, servers);
  const { lives, kills } = supervisor;
  return reportOf({ owner, seconds, lives, kills, outages: outages.kills, leftBehind, drift });
}

/**
 * Runs the shop until its time is up, the file has ended, or somebody presses Ctrl-C; a second time, and the
 * stores are not waited for. Resolves with the stores that were left behind.
 */
async function serveCustomers(
  options: Options,
  supervisor: Supervisor,
  outages: Outages,
): Promise<readonly string[]> {
  const asked = Promise.withResolvers<void>();
  let isAsked = false;
  const ask = (): void => {
    if (isAsked) supervisor.giveUp();
    isAsked = true;
    asked.resolve();
  };
  process.on('SIGINT', ask).on('SIGTERM', ask);
  try {
    supervisor.start();
    await Promise.race([supervisor.running, asked.promise]);
    if (options.killEveryMs !== undefined) {
      supervisor.killEvery(options.killEveryMs);
      outages.killEvery(options.killEveryMs * OUTAGES_RARER);
    }
    await Promise.race([asked.promise, theEnd(options, supervisor)]);
    await outages.over();
    return await supervisor.finish(options.settleMs);
  } finally {
    await supervisor.end();
    process.off('SIGINT', ask).off('SIGTERM', ask);
  }
}

/** Resolves when the time is up or the file has ended; rejects if the worker has failed. */
async function theEnd({ forMs, input }: Options, supervisor: Supervisor): Promise<void> {
  const ends: Promise<void>[] = [supervisor.failed];
  if (input !== undefined) ends.push(supervisor.replayed);
  if (forMs !== undefined) ends.push(sleep(forMs, undefined, { ref: false }));
  await Promise.race(ends);
}

/** The screen of a terminal, or a line now and then where there is none. Both on standard error. */
function showLive(parts: () => ScreenParts): { stop(): void } {
  const { stderr } = process;
  if (!stderr.isTTY) {
    stderr.write(`status: ${parts().statusUrl}\n`);
    const timer = setInterval(() => stderr.write(`${lineOf(parts())}\n`), LINE_MS);
    return { stop: () => clearInterval(timer) };
  }
  const draw = (): void => {
    stderr.write(`\u001B[H${screenOf(parts()).join('\u001B[K\n')}\u001B[J`);
  };
  // The other screen of the terminal, without a cursor; what was there before comes back at the end.
  stderr.write('\u001B[?1049h\u001B[?25l');
  const timer = setInterval(draw, SCREEN_MS);
  draw();
  return {
    stop: () => {
      clearInterval(timer);
      stderr.write('\u001B[?25h\u001B[?1049l');
    },
  };
}
