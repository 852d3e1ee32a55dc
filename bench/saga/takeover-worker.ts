import { SagaEngine } from '../../src/patterns/saga/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { postgresLedger } from '../../src/stores/postgres/ledger/index.ts';
import { stuck } from './definitions.ts';

// The worker that is to be killed: starts sagas whose step never comes to its end, and says so once all are in it.

const [url = '', round = '', count = '0'] = process.argv.slice(2);
const definition = stuck(1, false);
const ledger = await postgresLedger({ url }).open({
  name: 'doomed',
  clock: systemClock,
  random: systemRandom,
});
const engine = new SagaEngine({
  ledger,
  clock: systemClock,
  random: systemRandom,
  owner: `doomed-${round}`,
  isDead: () => false,
  definitions: [definition],
  run: true,
});
// Among the workers first: what is started before that is taken by the other one.
await systemClock.sleep(1_500);
await Promise.all(
  Array.from({ length: Number(count) }, (_, number) =>
    engine.start(definition, { id: `r${round}-${number}`, input: number }),
  ),
);
while (engine.running < Number(count)) await systemClock.sleep(20);
process.send?.('ready');
