import { SagaEngine, type SagaDefinition, type SagaObserver } from 'tallystick/saga';
import { systemClock } from '../../src/runtime/clock.ts';
import { isDeadProcess, ownProcess } from '../../src/runtime/owner.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import type { Shop } from './app.ts';
import type { Order } from './order.ts';

/** The sagas of a shop; one process of several runs them, or each its part. */
export function sagasOf(
  { app }: Shop,
  definition: SagaDefinition<Order>,
  options: {
    readonly run: boolean;
    readonly observe?: SagaObserver;
    /** Whether a worker of that name is gone; for tests, where it may not know that yet. */
    readonly isDead?: (owner: string) => boolean;
  },
): SagaEngine {
  return new SagaEngine({
    ledger: app.ledger,
    clock: systemClock,
    random: systemRandom,
    owner: ownProcess(),
    isDead: isDeadProcess,
    definitions: [definition],
    ...options,
  });
}
