import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isTallyError, TallyError } from 'tallystick';
import { readOptions, USAGE, type Options } from './args.ts';
import { checkInput } from './input.ts';
import { reportOf, type Report } from './report.ts';
import { lineOf, screenOf, summaryOf, type ScreenParts } from './screen.ts';
import { serveStatus } from './status-server.ts';
import { Supervisor } from './supervisor.ts';
import { plantFault } from './verify/plant.ts';
import { verify } from './verify/verify.ts';

// The supervisor: starts the shop in a worker process, shows how it stands, and at the end checks every
// store against the orders. `npm start -- --help` lists the options.

const SCREEN_MS = 500;
const LINE_MS = 2_000;

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
    const report = await runIn(dir, options);
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

async function runIn(dir: string, options: Options): Promise<Report> {
  const { seed, ordersPerSecond, input } = options;
  const startedAtMs = performance.now();
  const secondsSince = (): number => (performance.now() - startedAtMs) / 1_000;
  const supervisor = new Supervisor({ dir, seed, ordersPerSecond, input });
  await using page = await serveStatus(options.port, () => ({
    seconds: secondsSince(),
    kills: supervisor.kills,
    ...supervisor.lives.at(-1),
  }));
  const screen = showLive(() => ({
    seconds: secondsSince(),
    lives: supervisor.lives,
    kills: supervisor.kills,
    statusUrl: page.url,
  }));
  const leftBehind = await serveCustomers(options, supervisor).finally(() => screen.stop());
  const seconds = Number(secondsSince().toFixed(2));
  if (options.plant !== undefined) await plantFault(dir, options.plant);
  const drift = await verify(dir);
  const { lives, kills } = supervisor;
  return reportOf({ dir, seconds, lives, kills, leftBehind, drift });
}

/**
 * Runs the shop until its time is up, the file has ended, or somebody presses Ctrl-C; a second time, and the
 * stores are not waited for. Resolves with the stores that were left behind.
 */
async function serveCustomers(
  options: Options,
  supervisor: Supervisor,
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
    if (options.killEveryMs !== undefined) supervisor.killEvery(options.killEveryMs);
    await Promise.race([asked.promise, theEnd(options, supervisor)]);
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
