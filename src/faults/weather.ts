import {
  crashPoints,
  patternCrashPoints,
  serverCrashPoints,
  type CrashPoint,
} from '../observe/point.ts';
import { seededRandom } from '../runtime/random.ts';
import type { World } from './world.ts';

/** How often each kind of fault strikes a port call, drawn once for each schedule. */
export interface Weather {
  readonly delay: number;
  readonly failBefore: number;
  readonly failAfter: number;
  readonly torn: number;
  readonly crash: number;
  /** Of all named crash points that are passed. */
  readonly crashAtPoint: number;
  /** A crash point that is hit every other time: those that are passed seldom are hit by chance almost never. */
  readonly dreaded: CrashPoint | undefined;
  readonly suspend: number;
  readonly writeBusy: number;
}

/** No fault at all. */
export const calm: Weather = {
  delay: 0,
  failBefore: 0,
  failAfter: 0,
  torn: 0,
  crash: 0,
  crashAtPoint: 0,
  dreaded: undefined,
  suspend: 0,
  writeBusy: 0,
};

/**
 * The crash point that a third of the schedules come upon again and again, drawn apart: the other schedules are
 * what they would be without it.
 */
export function drawDreaded(seed: number): CrashPoint | undefined {
  const random = seededRandom(`dreaded ${seed}`);
  if (random.next() > 1 / 3) return undefined;
  // A log in memory has no files to crash between, and there are no servers.
  const points = crashPoints.filter(
    (name) =>
      !name.startsWith('log.') &&
      !serverCrashPoints.includes(name) &&
      !patternCrashPoints.includes(name),
  );
  return points[Math.floor(random.next() * points.length)];
}

/** Most schedules have a few kinds of faults, often; some have all of them, seldom. */
export function drawWeather(world: World, workers: number): Omit<Weather, 'dreaded'> {
  const some = (probability: number): number =>
    world.chance(0.5) ? probability * world.random.next() : 0;
  return {
    delay: world.chance(0.8) ? world.random.next() * 0.5 : 0,
    failBefore: some(0.04),
    failAfter: some(0.04),
    torn: some(0.3),
    crash: some(0.006),
    crashAtPoint: some(0.04),
    // Only where another worker can take over meanwhile does a pause in the middle of a call tell anything.
    suspend: some(workers > 1 ? 0.01 : 0.002),
    writeBusy: some(0.1),
  };
}
