import { checkDuration, checkOptions } from '../../core/options.ts';
import type { Clock } from '../../ports/clock.ts';
import { checkStepName } from './check.ts';
import { cron } from './cron.ts';
import type { Duration, SagaDefinition } from './definition.ts';

/** A saga that is started again and again: `every` so often, or at the moments of a cron expression. */
export type SagaSchedule<Input = never> = {
  readonly saga: SagaDefinition<Input>;
  /** What it is started with, from the moment it is for (milliseconds since 1970). */
  readonly input: (atMs: number) => Input;
} & (
  | {
      /** From one start to the next: whole multiples since 1970 UTC, so that every process means the same moments. */
      readonly every: Duration;
    }
  | {
      /** Minute, hour, day of the month, month, day of the week: `'30 2 * * 1-5'`. */
      readonly cron: string;
      /** What its hours mean, by its name in the IANA database: `'UTC'`, `'Europe/Berlin'`. */
      readonly timeZone: string;
    }
);

interface Checked {
  readonly name: string;
  readonly saga: SagaDefinition;
  readonly input: (atMs: number) => unknown;
  /** The latest moment at or before a time; undefined: there was none. */
  readonly last: (ms: number) => number | undefined;
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
      const input = schedule.input as (atMs: number) => unknown;
      return { name, saga: schedule.saga, input, last: momentsOf(schedule, path), startedAtMs: 0 };
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
      const { name, saga, input } = schedule;
      const atMs = schedule.last(clock.nowMs());
      // A clock that went back: what was started is not started again, its id is known.
      if (atMs === undefined || atMs === schedule.startedAtMs) continue;
      await start(saga, `schedule:${name}:${atMs}`, input(atMs));
      schedule.startedAtMs = atMs;
    }
  }
}

/** Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION. */
function momentsOf(schedule: SagaSchedule, path: string): Checked['last'] {
  if ('cron' in schedule) {
    checkOptions(schedule, ['saga', 'cron', 'timeZone', 'input'], path);
    const moments = cron(schedule.cron, schedule.timeZone, `${path}.cron`);
    // It is looked at twice a second, and can change once a minute.
    let [askedFor, answer]: [number, number | undefined] = [-1, undefined];
    return (ms) => {
      const minute = Math.floor(ms / 60_000);
      if (minute !== askedFor) [askedFor, answer] = [minute, moments.last(ms)];
      return answer;
    };
  }
  checkOptions(schedule, ['saga', 'every', 'input'], path);
  const everyMs = checkDuration(schedule.every, `${path}.every`, { min: EVERY_MIN_MS });
  return (ms) => Math.floor(ms / everyMs) * everyMs;
}
