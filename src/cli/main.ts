#!/usr/bin/env -S node --disable-warning=ExperimentalWarning --max-semi-space-size=4
// The flags: the embedded stores stand on node:sqlite, which says at each start that it is new; and the young
// generation of the heap, which V8 lets grow to a hundred megabytes when many rows pass, is kept small.
import process from 'node:process';
import { systemClock } from '../runtime/clock.ts';
import { runCommandLine } from './run.ts';
import { questioner } from './questioner.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());

process.exitCode = await runCommandLine(process.argv.slice(2), {
  out: (text) => process.stdout.write(`${text}\n`),
  say: (text) => process.stderr.write(`${text}\n`),
  screen: process.stdout.isTTY,
  clock: systemClock,
  signal: stop.signal,
  ...(process.stdin.isTTY ? { ask: questioner(stop.signal) } : {}),
});
