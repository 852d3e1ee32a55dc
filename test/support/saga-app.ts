import { flag } from './saga-flag.ts';
import { tally, type TallyApp } from '../../src/index.ts';
import { refused, saga, type SagaDefinition } from '../../src/patterns/saga/index.ts';
import { memory } from '../../src/stores/memory/index.ts';

/** An order whose release fails while the flag file says so. */
export const order: SagaDefinition<{ readonly total: number }> = saga<{ readonly total: number }>(
  'order',
)
  .step('reserve', {
    do: () => 'place 7',
    undo: () => {
      if (flag('undo-fails')) throw new Error('the warehouse does not answer');
    },
    undoRetry: { attempts: 1 },
  })
  .pivot('charge', {
    do: ({ input }) => {
      if (input.total > 100) throw refused('card declined');
      return `receipt ${input.total}`;
    },
  })
  .end();

/** The application of the saga tests; its folder is named by the environment. */
const app: TallyApp = tally({
  name: 'orders',
  dir: process.env['SAGA_DIR'] ?? '.tally/orders',
  stores: { orders: memory() },
  sagas: [order],
});

// oxlint-disable-next-line import/no-default-export -- the command line loads it
export default app;
