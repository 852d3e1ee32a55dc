import type { Clock, Random } from '../../ports/clock.ts';
import type { Ledger } from '../../ports/ledger.ts';
import type { SagaDefinition } from './definition.ts';
import type { SagaObserver } from './observer.ts';
import type { Place, PlaceRequest } from './places.ts';
import type { Head } from './record.ts';

/** What a running saga needs of the worker that runs it. */
export interface RunHost {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly observe: SagaObserver;
  /** Starts a child, or answers how the one of this id stands; its results once it is completed. */
  startChild(
    definition: SagaDefinition,
    id: string,
    input: unknown,
    parent: NonNullable<Head['parent']>,
  ): Promise<{ readonly head: Head; readonly results: unknown }>;
  cancelChild(id: string, reason: string): Promise<void>;
  /** Waits for a place in a step that only so many may be in. Throws when its signal aborts. */
  enter(request: PlaceRequest): Promise<Place>;
}
