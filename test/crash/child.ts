import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'vitest';
import { compileCache } from './story.ts';

/** When a worker is killed: at a crash point of its own, or after it has written so many lines. */
export interface Kill {
  readonly crash?: string;
  readonly killAfterLines?: number;
}

/**
 * Runs a worker of this folder as a process of its own until it is killed, which has to happen. Each line that it
 * writes is the number that it has acknowledged; returns the last one, or 0.
 */
export async function runUntilKilled(
  worker: string,
  args: readonly string[],
  how: Kill,
): Promise<number> {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const file = join(import.meta.dirname, worker);
  const running = spawn(process.execPath, [...flags, file, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...compileCache, TALLY_CRASH: how.crash ?? '' },
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    running.on('close', (_, signal) => resolve(signal));
  });
  let acknowledged = 0;
  let lines = 0;
  for await (const line of createInterface(running.stdout)) {
    acknowledged = Number(line);
    lines += 1;
    if (lines === how.killAfterLines) running.kill('SIGKILL');
  }
  expect(await ended).toBe('SIGKILL');
  return acknowledged;
}
