import { isTallyError } from 'tallystick';
import { saga, type SagaDefinition } from 'tallystick/saga';
import { around, type Faults } from './faults.ts';
import type { Order, Participants } from './order.ts';

/** How patient the saga is. */
export interface Patience {
  readonly timeout: string;
  /** The longest pause between two attempts. */
  readonly pause: string;
}

const calm: Patience = { timeout: '5s', pause: '2s' };

/**
 * Reserve, charge, ship, confirm. Until the order is confirmed everything can be taken back; confirming is the point of
 * no return.
 */
export function orderSaga(
  participants: Promise<Participants>,
  faults?: Faults,
  { timeout, pause }: Patience = calm,
): SagaDefinition<Order> {
  const retry = { attempts: 4, first: '20ms', max: pause };
  const step = (name: string, who: keyof Participants) => {
    const attemptOf = ({ key, attempt, signal }: StepLike, during: 'do' | 'undo') => ({
      key,
      step: name,
      during,
      attempt,
      signal,
    });
    return {
      do: async (context: Context) => {
        const participant = (await participants)[who];
        const work = () => participant.do(keyOf(context), context.input);
        try {
          return await around(attemptOf(context, 'do'), work, faults);
        } catch (error) {
          // A refusal says that there is no effect and never will be. Otherwise: 1. an attempt is slow, and is given up
          // 2. the next one is refused, and the saga goes back without undoing this step  3. the slow one takes effect.
          if (isTallyError(error, 'STEP_REFUSED'))
            await participant.undo(keyOf(context), context.input);
          throw error;
        }
      },
      undo: ({ step: context, attempt, signal }: { step: Context } & Omit<StepLike, 'key'>) =>
        around(
          attemptOf({ key: context.key, attempt, signal }, 'undo'),
          async () => (await participants)[who].undo(keyOf(context), context.input),
          faults,
        ),
      probe: async (context: Context) =>
        (await participants)[who].probe(keyOf(context), context.input),
    };
  };
  const back = { retry, timeout, undoRetry: { ...retry, attempts: 20 }, undoTimeout: timeout };
  const { undo: _, ...confirm } = step('confirm', 'orders');
  return saga<Order>('order')
    .step('reserve', { ...step('reserve', 'inventory'), ...back })
    .step('charge', { ...step('charge', 'payments'), ...back })
    .step('ship', { ...step('ship', 'shipping'), ...back })
    .pivot('confirm', { ...confirm, retry, timeout })
    .end();
}

interface StepLike {
  readonly key: string;
  readonly attempt: number;
  readonly signal: AbortSignal;
}

interface Context extends StepLike {
  readonly input: Order;
  readonly saga: { readonly startedAtMs: number };
}

/** One key for the do, the undo and the probe of a step, the same at every attempt. */
function keyOf({ key, saga: { startedAtMs } }: Context) {
  return { id: key, startedAtMs };
}
