import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { SagaEngine } from '../../src/patterns/saga/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ownProcess } from '../../src/runtime/owner.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { sqliteLedger } from '../../src/stores/sqlite/ledger/index.ts';
import { approval, reminder } from './definitions.ts';

// One process of the benchmark of sagas that wait: `fill` starts them, half of them on a signal, half on a timer, and
// says how much memory it has while they wait; `resume` finds them there and goes on with a hundred.

const [file = '', task = '', count = '0'] = process.argv.slice(2);
const total = Number(count);
const ledger = await sqliteLedger({ file }).open({
  name: 'bench',
  clock: systemClock,
  random: systemRandom,
});
const engine = new SagaEngine({
  ledger,
  clock: systemClock,
  random: systemRandom,
  owner: ownProcess(),
  isDead: () => false,
  definitions: [approval, reminder],
  run: true,
});
if (task === 'fill') {
  let next = 0;
  const starter = async (): Promise<void> => {
    for (let number = next++; number < total; number = next++)
      await engine.start(number % 2 === 0 ? approval : reminder, {
        id: `s-${number}`,
        input: number,
      });
  };
  await Promise.all(Array.from({ length: 256 }, starter));
  // Until nobody has one, and none waits for somebody to take it.
  while (engine.running > 0 || (await ledger.list('saga/ready', { limit: 1 })).length > 0)
    await sleep(50);
} else {
  const step = Math.max(2, Math.floor(total / 200) * 2);
  const ids = Array.from({ length: 100 }, (_, index) => `s-${(index * step) % total}`);
  await Promise.all(ids.map((id) => engine.signal(id, 'approved', { signalId: 'once' })));
  const outcomes = await Promise.all(ids.map((id) => engine.result(approval, id)));
  if (outcomes.some(({ status }) => status !== 'completed')) throw new Error('a saga is not over');
}
// A while of nothing but looking: what a worker costs while all of them wait.
const cpu = process.cpuUsage();
if (task === 'fill') await sleep(3_000);
const { user, system } = process.cpuUsage(cpu);
process.send?.({ rssBytes: process.memoryUsage.rss(), idleCpuMs: (user + system) / 1_000 });
await once(process, 'message');
await engine.close();
await ledger.close();
process.disconnect();
