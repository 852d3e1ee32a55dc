import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { startPostgres } from '../servers/index.ts';
import { SagaEngine } from '../src/patterns/saga/index.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { postgresLedger } from '../src/stores/postgres/ledger/index.ts';
import type { Bench, BenchOptions, BenchResult } from './bench.ts';
import { stuck } from './saga/definitions.ts';

const ROUNDS = 8;
const SAGAS = 100;
const LEASE_MS = 3_000;
const BAR_S = (LEASE_MS + 1_000) / 1_000;

/** A worker that is killed, as if on another machine: how long until another one has ended all of its sagas. */
export const sagaTakeoverBench: Bench = {
  name: 'saga-takeover',
  about: 'a worker killed by SIGKILL in the middle of a hundred sagas; another id, a newer version',
  run,
};

async function run({ quick }: BenchOptions): Promise<BenchResult> {
  await using server = await startPostgres();
  const context = { name: 'heir', clock: systemClock, random: systemRandom };
  await using ledger = await postgresLedger({ url: server.url }).open(context);
  const old = stuck(1, true);
  await using engine = new SagaEngine({
    ledger,
    clock: systemClock,
    random: systemRandom,
    owner: 'heir',
    // Nobody tells it: it has to see that the lease is not renewed.
    isDead: () => false,
    definitions: [old, stuck(2, true)],
    run: true,
    leaseMs: LEASE_MS,
  });
  const lastS: number[] = [];
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
    const child = fork(
      join(import.meta.dirname, 'saga', 'takeover-worker.ts'),
      [server.url, String(round), String(SAGAS)],
      { execArgv: ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'] },
    );
    const [word] = (await once(child, 'message')) as [string];
    if (word !== 'ready') throw new Error(`the worker says ${word}`);
    // At any moment between two renewals.
    await systemClock.sleep(systemRandom.next() * 1_000);
    const killedMs = performance.now();
    child.kill('SIGKILL');
    await Promise.all(
      Array.from({ length: SAGAS }, async (_, number) => {
        const { status } = await engine.result(old, `r${round}-${number}`);
        if (status !== 'completed') throw new Error(`a saga is ${status}`);
      }),
    );
    lastS.push((performance.now() - killedMs) / 1_000);
  }
  const worst = Math.max(...lastS);
  return {
    claims: [
      {
        claim: `from SIGKILL until the last of ${SAGAS} sagas was completed by another worker, the worst of ${lastS.length} times`,
        bar: BAR_S,
        measured: Number(worst.toFixed(2)),
        unit: 's',
        met: worst <= BAR_S,
      },
    ],
    details: { 'each time, s': lastS.map((s) => Number(s.toFixed(2))), 'lease, ms': LEASE_MS },
  };
}
