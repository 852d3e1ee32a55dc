import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';

const SAGAS = 100_000;
const MEMORY_BAR_MIB = 300;
const RESUMED_BAR_S = 5;
const MIB = 1_024 * 1_024;

/** A hundred thousand sagas that wait on signals and timers: what they cost, and how soon a new process goes on with them. */
export const sagaWaitingBench: Bench = {
  name: 'saga-waiting',
  about: '100,000 sagas that wait on signals and timers, with the ledger on SQLite',
  run,
};

interface Report {
  readonly rssBytes: number;
  readonly idleCpuMs: number;
}

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const file = join(dir, 'ledger.db');
  const count = quick ? 2_000 : SAGAS;
  const fillStartedMs = performance.now();
  const filled = await phase(file, 'fill', count);
  const fillS = (performance.now() - fillStartedMs) / 1_000;
  const resumeStartedMs = performance.now();
  let resumedS = Number.NaN;
  const resumed = await phase(file, 'resume', count, () => {
    resumedS = (performance.now() - resumeStartedMs) / 1_000;
  });
  const rssMib = Math.max(filled.rssBytes, resumed.rssBytes) / MIB;
  return {
    claims: [
      {
        claim: `memory of a process while ${count} sagas wait, the one that started them included`,
        bar: MEMORY_BAR_MIB,
        measured: Math.round(rssMib),
        unit: 'MiB',
        met: rssMib <= MEMORY_BAR_MIB,
      },
      {
        claim:
          'from the start of a new process until a hundred of them were signalled and completed',
        bar: RESUMED_BAR_S,
        measured: Number(resumedS.toFixed(2)),
        unit: 's',
        met: resumedS <= RESUMED_BAR_S,
      },
    ],
    details: {
      'memory of the new process, MiB': Math.round(resumed.rssBytes / MIB),
      'processor while all wait, ms a second': Number((filled.idleCpuMs / 3).toFixed(1)),
      'started and brought to wait, sagas a second': Math.round(count / fillS),
      'ledger, MiB': Math.round((await stat(file)).size / MIB),
    },
  };
}

async function phase(
  file: string,
  task: string,
  count: number,
  onReport: () => void = () => undefined,
): Promise<Report> {
  const child: ChildProcess = fork(
    join(import.meta.dirname, 'saga', 'waiting-worker.ts'),
    [file, task, String(count)],
    {
      execArgv: ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'],
    },
  );
  const exit = once(child, 'exit');
  const report = await Promise.race([
    once(child, 'message').then(([message]) => message as Report),
    exit.then(([code]) => {
      throw new Error(`the process ended with ${String(code)}`);
    }),
  ]);
  onReport();
  child.send('end');
  await exit;
  return report;
}
