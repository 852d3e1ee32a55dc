import { expect, test } from 'vitest';
import { virtualClock } from '../../faults/virtual-clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createMemoryState, memoryLedger } from '../../stores/memory/index.ts';
import { refused, saga, type SagaDefinition, SagaEngine } from './index.ts';

function bench(definitions: readonly SagaDefinition[], run = true) {
  const clock = virtualClock();
  const ledger = memoryLedger({ state: createMemoryState() });
  const engine = new SagaEngine({
    ledger,
    clock,
    random: seededRandom(1),
    owner: 'me',
    isDead: () => false,
    definitions,
    run,
  });
  return { clock, ledger, engine };
}

test('a saga runs its steps in order, and each sees what those before returned', async () => {
  const log: string[] = [];
  const order = saga<{ readonly sku: string }>('order')
    .step('reserve', {
      do: ({ input, key }) => {
        log.push(key);
        return { place: input.sku.length };
      },
      undo: { none: 'a test' },
    })
    .pivot('charge', { do: async ({ results }) => results.reserve.place + 1 })
    .retriable('confirm', { do: ({ results }) => `${results.charge}` })
    .end();
  const { clock, engine } = bench([order]);
  await clock.advance(100);
  const handle = await engine.start(order, { id: 'a', input: { sku: 'abc' } });
  const outcome = handle.result();
  await clock.advance(1_000);
  expect(await outcome).toEqual({
    status: 'completed',
    results: { reserve: { place: 3 }, charge: 4, confirm: '4' },
  });
  expect(log).toEqual(['a/reserve']);
  const closed = engine.close();
  await clock.advance(10_000);
  await closed;
});

test('a step that is refused has those before it undone, the last first', async () => {
  const log: string[] = [];
  const order = saga<null>('order')
    .step('one', { do: () => 1, undo: ({ result }) => log.push(`one ${result}`) })
    .step('two', { do: () => 2, undo: ({ result }) => log.push(`two ${result}`) })
    .pivot('three', {
      do: () => {
        throw refused('no');
      },
    })
    .end();
  const { clock, engine } = bench([order]);
  await clock.advance(100);
  const handle = await engine.start(order, { id: 'a', input: null });
  const outcome = handle.result();
  await clock.advance(1_000);
  expect(await outcome).toMatchObject({
    status: 'compensated',
    failure: { why: 'step', path: 'three', error: { code: 'STEP_REFUSED' } },
  });
  expect(log).toEqual(['two 2', 'one 1']);
});
