import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { join } from 'node:path';
import type { Report } from '../../examples/shop/report.ts';

const root: string = join(import.meta.dirname, '..', '..');
export const fixture: string = join(root, 'examples/shop/fixtures/order-lines.csv');

/** How a run of the shop ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A run of the shop that may still be going on. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
  /** Standard error so far. */
  readonly heard: () => string;
  /** Resolves when standard error contains `text`. */
  readonly says: (text: string) => Promise<void>;
}

/** Starts what `npm start` starts. */
export function startShop(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--conditions=tallystick-source',
      join(root, 'examples/shop/main.ts'),
      ...args,
    ],
    { env: { ...process.env, ...env } },
  );
  let stdout = '';
  let stderr = '';
  const waiting: { readonly text: string; readonly resolve: () => void }[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    for (const { text: wanted, resolve } of waiting) if (stderr.includes(wanted)) resolve();
  });
  const { promise: ended, resolve: end } = Promise.withResolvers<Ended>();
  child.on('close', (code) => end({ code, stdout, stderr }));
  return {
    child,
    ended,
    heard: () => stderr,
    says: async (text) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push({ text, resolve });
      if (stderr.includes(text)) resolve();
      return promise;
    },
  };
}

export async function runShop(
  args: readonly string[],
  env?: NodeJS.ProcessEnv,
): Promise<Ended & { readonly report: Report | undefined }> {
  const ended = await startShop(args, env).ended;
  const isJson = args.includes('--json') && ended.stdout !== '';
  return { ...ended, report: isJson ? (JSON.parse(ended.stdout) as Report) : undefined };
}
