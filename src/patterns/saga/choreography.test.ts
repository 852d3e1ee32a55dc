import { expect, test } from 'vitest';
import { virtualClock } from '../../faults/virtual-clock.ts';
import { seededRandom } from '../../runtime/random.ts';
import { createMemoryState, memoryLedger } from '../../stores/memory/index.ts';
import { choreography, saga, SagaEngine, signalsSaga, startsSaga } from './index.ts';

interface Placed {
  readonly order: string;
}

test('events start and signal the saga that they belong to, once each, however often they come', async () => {
  const log: string[] = [];
  const order = saga<Placed>('order')
    .step('reserve', {
      do: ({ input }) => {
        log.push(`reserve ${input.order}`);
        return null;
      },
      undo: { none: 'a test' },
    })
    .signal<{ readonly amount: number }>('paid', { timeout: '1h' })
    .pivot('ship', {
      do: ({ results }) => {
        log.push(`ship for ${results.paid?.amount}`);
        return null;
      },
    })
    .end();
  const clock = virtualClock();
  await using sagas = new SagaEngine({
    ledger: memoryLedger({ state: createMemoryState() }),
    clock,
    random: seededRandom(1),
    owner: 'me',
    isDead: () => false,
    definitions: [order],
    run: true,
  });
  const orderOf = (data: unknown): string => (data as Placed).order;
  const follow = choreography(sagas, {
    OrderPlaced: [
      startsSaga(order, ({ data }) => ({ id: orderOf(data), input: { order: orderOf(data) } })),
    ],
    PaymentTaken: [
      signalsSaga(({ data }) => ({ id: orderOf(data), signal: 'paid', payload: { amount: 5 } })),
    ],
  });
  await clock.advance(100);
  const placed = { id: 'e1', type: 'OrderPlaced', data: { order: 'o1' } };
  const paid = { id: 'e2', type: 'PaymentTaken', data: { order: 'o1' } };

  await expect(follow(paid)).rejects.toMatchObject({ code: 'SAGA_UNKNOWN' });
  expect(await follow(placed)).toEqual(['started']);
  expect(await follow(placed)).toEqual(['known']);
  await clock.advance(1_000);
  expect(await follow(paid)).toEqual(['signalled']);
  expect(await follow(paid)).toEqual(['signalled']);
  await clock.advance(5_000);
  expect((await sagas.show('o1')).status).toBe('completed');
  // Delivered again it is what was taken in before; another event of the kind comes too late.
  expect(await follow(paid)).toEqual(['signalled']);
  expect(await follow({ ...paid, id: 'e4' })).toEqual(['ended']);
  expect(await follow({ id: 'e3', type: 'constructor', data: null })).toEqual([]);
  expect(log).toEqual(['reserve o1', 'ship for 5']);
  const closed = sagas.close();
  await clock.advance(10_000);
  await closed;
});
