import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How a process ended that a crash test started. */
export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly errors: string;
}

/** The same sources are started hundreds of times: Node compiles them once. */
export const compileCache: Readonly<Record<string, string>> = {
  NODE_COMPILE_CACHE: join(tmpdir(), 'tally-compile-cache'),
};

/** Runs a worker of this folder as a process of its own, until it ends or is killed. */
export function runStory(
  worker: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<End> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--conditions=tallystick-source',
      join(import.meta.dirname, worker),
      ...args,
    ],
    { env: { ...process.env, ...compileCache, ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, errors }));
  });
}
