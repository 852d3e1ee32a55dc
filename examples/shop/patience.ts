import { setTimeout as sleep } from 'node:timers/promises';
import { isTallyError } from 'tallystick';
import { isPostgresAway } from './orders/postgres.ts';
import { isRedisAway } from './sessions/redis.ts';

const AGAIN_MS = 100;

/** Whether a server is away, or was before it could answer: as the coordinator says it, or its driver. */
export function isAway(error: unknown): boolean {
  if (isTallyError(error)) return isTallyError(error, 'STORE_UNREACHABLE', 'COMMIT_UNKNOWN');
  return error instanceof Error && (isPostgresAway(error) || isRedisAway(error));
}

/**
 * Does work that can be begun again at any time, until it is done: a server that is away is waited for. For
 * stores in files nothing is away; what fails there fails at once.
 */
export async function patiently<Result>(
  where: 'in files' | 'on servers',
  signal: AbortSignal,
  work: () => Promise<Result>,
): Promise<Result> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const mayPass = isAway(error) || (isTallyError(error) && error.retryable);
      if (where === 'in files' || !mayPass || signal.aborted) throw error;
      await sleep(AGAIN_MS);
    }
  }
}
