#!/usr/bin/env node
import process from 'node:process';

// The embedded stores stand on node:sqlite, which warns that it is new at each start.
process.removeAllListeners('warning');
process.on('warning', (warning) => {
  if (warning.name !== 'ExperimentalWarning')
    process.stderr.write(`${warning.name}: ${warning.message}\n`);
});

const { runCommandLine } = await import('./run.ts');
const { systemClock } = await import('../runtime/clock.ts');

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());

process.exitCode = await runCommandLine(process.argv.slice(2), {
  out: (text) => process.stdout.write(`${text}\n`),
  say: (text) => process.stderr.write(`${text}\n`),
  screen: process.stdout.isTTY,
  clock: systemClock,
  signal: stop.signal,
});
