import { saga, type SagaDefinition, type StepContext } from '../../src/patterns/saga/index.ts';
import type { World } from './world.ts';

/** What an order is started with. */
export interface OrderInput {
  readonly amount: number;
  readonly parcels: number;
}

/** The paths of its steps, the compensatable ones first. */
export const undoable = [
  'reserve',
  'both/hold/hold-money',
  'both/slot/book-slot',
  'parcels/0/label',
  'parcels/1/label',
] as const;
export const forward = ['charge', 'tell/0/notify', 'tell/1/notify', 'confirm'] as const;

/** An order over services that keep to the rules: every kind of node, every class of step. */
export function orderIn(world: World): SagaDefinition<OrderInput> {
  const give = (context: StepContext<OrderInput>): Promise<string> =>
    world.effect(context, context.input.amount);
  const undo = ({ step, signal }: { step: StepContext<OrderInput>; signal: AbortSignal }) =>
    world.takeBack(step, signal);
  const items = ({ input }: StepContext<OrderInput>) =>
    Array.from({ length: input.parcels }, (_, index) => index);
  const retry = { attempts: 3 };
  return saga<OrderInput>('order')
    .step('reserve', { do: give, undo, retry, timeout: '2s', undoTimeout: '2s' })
    .parallel('both', {
      hold: (branch) =>
        branch.step('hold-money', { do: give, undo, retry, timeout: '2s', undoTimeout: '2s' }),
      slot: (branch) =>
        branch.step('book-slot', { do: give, undo, retry, timeout: '2s', undoTimeout: '2s' }),
    })
    .loop('parcels', { over: items }, (body) =>
      body.step('label', { do: give, undo, retry, timeout: '2s', undoTimeout: '2s' }),
    )
    .sleep('cool-down', '20s')
    .pivot('charge', {
      do: give,
      retry,
      timeout: '2s',
      probe: ({ key }) =>
        world.participant.has(key) ? { took: 'effect', result: 'asked' } : undefined,
    })
    .loop('tell', { over: items, concurrency: 2 }, (body) =>
      body.retriable('notify', { do: give, timeout: '2s' }),
    )
    .retriable('confirm', { do: give, timeout: '2s' })
    .end();
}
