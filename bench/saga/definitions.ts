import { saga, type SagaDefinition } from '../../src/patterns/saga/index.ts';

/** Waits for a person, for as long as it takes. */
export const approval: SagaDefinition<number> = saga<number>('approval')
  .signal('approved')
  .retriable('act', { do: () => true })
  .end();

/** Waits for a day. */
export const reminder: SagaDefinition<number> = saga<number>('reminder')
  .sleep('day', '1d')
  .retriable('act', { do: () => true })
  .end();

/** A step that comes to its end in one process, and never in another. */
export function stuck(version: number, comesToItsEnd: boolean): SagaDefinition<number> {
  return saga<number>('stuck', { version })
    .step('work', {
      do: () => (comesToItsEnd ? null : new Promise<null>(() => undefined)),
      undo: { none: 'it does nothing' },
    })
    .end();
}
