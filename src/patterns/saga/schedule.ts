import { checkDuration, checkOptions } from '../../core/options.ts';
import type { Clock } from '../../ports/clock.ts';
import { checkStepName } from './check.ts';
import type { Duration, SagaDefinition } from './definition.ts';

/** A saga that is started again and again. */
export interface SagaSchedule<Input = never> {
  readonly saga: SagaDefinition<Input>;
  /** From one start to the next: whole multiples since 1970 UTC, so that every process means the same moments. */
  readonly every: Duration;
  /** What it is started with, from the moment it is for (milliseconds since 1970). */
  readonly input: (atMs: number) => Input;
}

interface Checked {
  readonly name: string;
  readonly saga: SagaDefinition;
  readonly everyMs: number;
  readonly input: (atMs: number) => unknown;
  startedAtMs: number;
}

/** More often than each second is no schedule but a loop. */
const EVERY_MIN_MS = 1_000;

/**
 * Starts what is due. The moment is part of the saga's id, so that any number of processes start it once. Moments that
 * passed while nothing ran are not made up for, but for the last one.
 */
export class Schedules {
  readonly #schedules: readonly Checked[];

  /** Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION. */
  constructor(given: Readonly<Record<string, SagaSchedule>>) {
    this.#schedules = Object.entries(given).map(([name, schedule]) => {
      const path = `sagas.schedules.${name}`;
      checkStepName(name, path);
      checkOptions(schedule, ['saga', 'every', 'input'], path);
      const everyMs = checkDuration(schedule.every, `${path}.every`, { min: EVERY_MIN_MS });
      const input = schedule.input as (atMs: number) => unknown;
      return { name, saga: schedule.saga, everyMs, input, startedAtMs: 0 };
    });
  }

  get definitions(): readonly SagaDefinition[] {
    return this.#schedules.map(({ saga }) => saga);
  }

  /** Starts, with `start`, each whose moment has come. One that cannot be started now is tried again. */
  async look(
    clock: Clock,
    start: (saga: SagaDefinition, id: string, input: unknown) => Promise<unknown>,
  ): Promise<void> {
    for (const schedule of this.#schedules) {
      const { name, saga, everyMs, input } = schedule;
      const atMs = Math.floor(clock.nowMs() / everyMs) * everyMs;
      // A clock that went back: what was started is not started again, its id is known.
      if (atMs === schedule.startedAtMs) continue;
      await start(saga, `schedule:${name}:${atMs}`, input(atMs));
      schedule.startedAtMs = atMs;
    }
  }
}
