import { TallyError } from '../../../core/errors.ts';
import type { Database } from '../database.ts';
import { postgresError } from '../errors.ts';

/** How long the place of a write is asked for after its commit, if the server does not answer. */
const EVIDENCE_MS = 15_000;
const EVIDENCE_AGAIN_MS = 100;

/**
 * The place of what was just committed, as `place` gives it out. Throws COMMIT_UNKNOWN if the server cannot say it in
 * time: the write is there, and whoever did it again would do it twice.
 */
export async function placeAfterCommit(
  { clock, where }: Pick<Database, 'clock' | 'where'>,
  place: () => Promise<number>,
): Promise<number> {
  const untilMs = clock.monotonicMs() + EVIDENCE_MS;
  for (;;) {
    try {
      return await place();
    } catch (error) {
      const cause = postgresError(error, where);
      if (cause instanceof TallyError && cause.retryable && clock.monotonicMs() < untilMs) {
        await clock.sleep(EVIDENCE_AGAIN_MS);
        continue;
      }
      throw new TallyError('COMMIT_UNKNOWN', {
        what: 'the transaction was committed, but its place could not be told',
        where,
        mend: 'do not repeat the write; read without its evidence',
        retryable: false,
        details: { kept: true },
        cause,
      });
    }
  }
}
