import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { refused } from 'tallystick/saga';

/**
 * What goes wrong with one attempt. `late`: it sleeps until it is told to stop, and takes effect after that, when nobody
 * waits for it any more. The crashes are SIGKILL to the process itself.
 */
export type FaultKind =
  'refuse' | 'error-before' | 'error-after' | 'late' | 'crash-before' | 'crash-after';

/** One attempt of a step, or of its undo. */
export interface Attempt {
  readonly key: string;
  readonly step: string;
  readonly during: 'do' | 'undo';
  readonly attempt: number;
  readonly signal: AbortSignal;
}

/** Decides what goes wrong; undefined: nothing. */
export type Faults = (attempt: Attempt) => FaultKind | undefined;

/** How long after its end a late attempt takes effect: longer than a saga waits for one that was told to stop. */
const LATE_MS = 1_200;
const late = new Set<Promise<unknown>>();
const noFaults: Faults = () => undefined;

/** Runs the effect of one attempt, with what goes wrong. */
export async function around<Result>(
  attempt: Attempt,
  effect: () => Promise<Result>,
  faults: Faults = noFaults,
): Promise<Result> {
  const fault = faults(attempt);
  switch (fault) {
    case undefined:
      return effect();
    case 'refuse':
      throw refused(`${attempt.step} refuses, as it was told to`);
    case 'error-before':
      throw new Error(`${attempt.step} cannot be reached`);
    case 'error-after':
      await effect();
      throw new Error(`${attempt.step} has not answered`);
    case 'late': {
      const done = stopped(attempt.signal)
        .then(() => sleep(LATE_MS))
        .then(effect);
      late.add(done);
      return done.finally(() => late.delete(done));
    }
    case 'crash-before':
      return killed();
    case 'crash-after':
      await effect();
      return killed();
    default:
      return fault satisfies never;
  }
}

/** Waits for what is still to come late in this process. */
export async function lateOnes(): Promise<void> {
  await Promise.allSettled(late);
}

function stopped(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function killed(): Promise<never> {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => undefined);
}

/** The kinds that make up the weather. Crashes come from outside. */
const weather: readonly FaultKind[] = ['error-before', 'error-after', 'late'];

/**
 * This share of all attempts goes wrong, decided by the seed and the attempt alone. One in twenty of these of a do is a
 * refusal. An undo is never refused for good: the third attempt of anything succeeds.
 */
export function someFaults(rate: number, seed: number): Faults {
  return ({ key, during, attempt }) => {
    if (attempt > 2) return undefined;
    const digest = createHash('sha256').update(`${seed} ${key} ${during} ${attempt}`).digest();
    if (digest.readUInt32LE(0) / 2 ** 32 >= rate) return undefined;
    if (during === 'do' && digest.readUInt8(4) < 13) return 'refuse';
    return weather[digest.readUInt8(5) % weather.length];
  };
}
