import type { OpenApp } from 'tallystick';
import { answerTo, leaveRequest, type AppRequest } from '../../src/app/requests.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';

/** Leaves a request as the command line does, and waits for its answer. */
export async function ask(
  app: Pick<OpenApp, 'ledger'>,
  request: AppRequest,
): Promise<number | undefined> {
  const id = await leaveRequest(app.ledger, systemRandom, request);
  return answerTo(app.ledger, systemClock, id, 30_000);
}
