import { isTallyError } from '../../core/errors.ts';
import type { Value } from '../../core/row.ts';
import type { SagaDefinition } from './definition.ts';
import type { Sagas } from './port.ts';

/** An event that sagas follow from: of an event store, an outbox, a stream. */
export interface SagaTrigger {
  /** Names the event for good: what comes again with the same id counts once. */
  readonly id: string;
  readonly type: string;
  readonly data: Value;
}

/** What follows from an event of one type. Made by {@link startsSaga} and {@link signalsSaga}. */
export interface Reaction {
  readonly react: (sagas: Driven, event: SagaTrigger) => Promise<Reacted>;
}

type Driven = Pick<Sagas, 'start' | 'signal'>;

/**
 * What became of one reaction. `known`: that saga was started before, by this event or another one. `signalled`: the saga
 * has this event, however often it came. `ended`: the saga came to its end without it; it is not needed any more.
 */
export type Reacted = 'started' | 'known' | 'signalled' | 'ended';

/** Starts the saga that the event belongs to, under the id that correlates it. */
export function startsSaga<Input>(
  definition: SagaDefinition<Input>,
  of: (event: SagaTrigger) => { readonly id: string; readonly input: Input },
): Reaction {
  return {
    react: async (sagas, event) => {
      const { created } = await sagas.start(definition, of(event));
      return created ? 'started' : 'known';
    },
  };
}

/** Sends the event as a signal to the saga that it belongs to; sent again, it counts once. */
export function signalsSaga(
  of: (event: SagaTrigger) => {
    readonly id: string;
    readonly signal: string;
    readonly payload?: Value;
  },
): Reaction {
  return {
    react: async (sagas, event) => {
      const { id, signal, payload = null } = of(event);
      try {
        await sagas.signal(id, signal, { payload, signalId: event.id });
        return 'signalled';
      } catch (error) {
        if (isTallyError(error, 'SAGA_STATE')) return 'ended';
        throw error;
      }
    },
  };
}

/**
 * Sagas that are driven by events: a function to call with each event, as often as it is delivered. Every reaction is
 * idempotent by the ids of saga and event, so that delivery at least once is enough; call it before the event is
 * acknowledged. An event without reactions is nobody's, and answers an empty list.
 *
 * Throws SAGA_UNKNOWN for a signal whose saga has not been started: the event that starts it is behind. Deliver it again
 * after that one; where the two have no order, let both start the saga.
 */
export function choreography(
  sagas: Driven,
  on: Readonly<Record<string, readonly Reaction[]>>,
): (event: SagaTrigger) => Promise<readonly Reacted[]> {
  return async (event) => {
    const reacted: Reacted[] = [];
    const reactions = Object.hasOwn(on, event.type) ? (on[event.type] ?? []) : [];
    for (const reaction of reactions) reacted.push(await reaction.react(sagas, event));
    return reacted;
  };
}
