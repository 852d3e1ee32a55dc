import type { Clock } from '../../ports/clock.ts';
import type { ServerLife } from './link.ts';

/** Beyond thirty days Memcached takes a number of seconds for a date. */
const RELATIVE_S_MAX = 30 * 24 * 3_600;

/**
 * The argument of `T`: whole seconds. Memcached counts the ticks of its own second hand, so a time to live of n seconds
 * is over between n - 1 and n seconds from now; a shorter one than a second is one.
 */
export function ttlSeconds(ttlMs: number, life: ServerLife, clock: Clock): number {
  const seconds = Math.max(1, Math.ceil(ttlMs / 1_000));
  if (seconds <= RELATIVE_S_MAX) return seconds;
  return Math.floor(clock.nowMs() / 1_000) + life.aheadS + seconds;
}
