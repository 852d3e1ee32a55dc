import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

/** The application that most tests run. */
export const appFile: string = join(root, 'test', 'scenarios', 'copy-worker.ts');

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly said: string;
}

/** A command that runs. */
export interface Running extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** The process ended by this signal. */
  readonly kill: (signal: NodeJS.Signals) => Promise<Ended>;
}

/** Starts `tally` as a process of its own, as users do. */
export function start(args: readonly string[], env: Readonly<Record<string, string>>): Running {
  const child = spawn(
    process.execPath,
    ['--conditions=tallystick-source', join(root, 'src', 'cli', 'main.ts'), ...args],
    {
      cwd: env['COPY_DIR'] ?? root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let out = '';
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(child, 'close').then(([code, signal]): Ended => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    out,
    said,
  }));
  const kill = async (signal: NodeJS.Signals): Promise<Ended> => {
    child.kill(signal);
    return ended;
  };
  return {
    child,
    ended,
    kill,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await kill('SIGKILL');
    },
  };
}

/** Runs `tally` to its end. */
export async function tallyCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  return start(args, env).ended;
}

/** What a command printed as JSON. */
export function json(ended: Ended): Record<string, unknown> {
  try {
    return JSON.parse(ended.out) as Record<string, unknown>;
  } catch (cause) {
    throw new Error(`not one JSON document: ${ended.out} ${ended.said}`, { cause });
  }
}
