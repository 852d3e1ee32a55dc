import { access } from 'node:fs/promises';
import type { TallyApp } from '../app/definition.ts';
import { openLedger } from '../app/lanes.ts';
import { answerTo, leaveRequest, type AppRequest } from '../app/requests.ts';
import { STATUS_SPACE, type AppStatus } from '../app/status.ts';
import { TallyError } from '../core/errors.ts';
import { checkDuration } from '../core/options.ts';
import type { Ledger } from '../ports/ledger.ts';
import { systemClock } from '../runtime/clock.ts';
import { isDeadProcess } from '../runtime/owner.ts';
import { systemRandom } from '../runtime/random.ts';
import type { Call, Command, Terminal } from './command.ts';

/** How long a command waits for the worker, unless told otherwise. */
const WITHIN_DEFAULT = '60s';

/** Opens the ledger of an application for the time of `work`. Throws STORE_UNREACHABLE if no worker ever made it. */
export async function withLedger<Result>(
  app: TallyApp,
  work: (ledger: Ledger) => Promise<Result>,
): Promise<Result> {
  if (app.ledger === undefined)
    await access(app.dir).catch((cause: unknown) => neverRun(app, cause));
  await using ledger = await openLedger(app, {
    name: app.name,
    clock: systemClock,
    random: systemRandom,
  });
  // Awaited here: the ledger is closed as soon as this function returns.
  const result = await work(ledger);
  return result;
}

function neverRun(app: TallyApp, cause: unknown): never {
  throw new TallyError('STORE_UNREACHABLE', {
    what: `application ${app.name} has no ledger yet`,
    where: app.dir,
    mend: 'run tally up first, in the same working directory',
    cause,
  });
}

/** The option that {@link requestOfWorker} reads. */
export const withinOption: Command['options'] = {
  within: {
    takes: 'DURATION',
    about: `how long to wait for the worker (default ${WITHIN_DEFAULT})`,
  },
};

/**
 * Leaves a request for the worker that runs the flows and waits for its answer; undefined if there is none
 * in time, or no worker: the request is then kept until one comes.
 */
export async function requestOfWorker(
  call: Call,
  ledger: Ledger,
  request: AppRequest,
  terminal: Terminal,
): Promise<number | undefined> {
  const withinMs = checkDuration(call.options['within'] ?? WITHIN_DEFAULT, '--within');
  const alive = (await ledger.list(STATUS_SPACE)).some(
    ({ value }) => !isDeadProcess((JSON.parse(value) as AppStatus).owner),
  );
  const id = await leaveRequest(ledger, systemRandom, request);
  const answer = alive ? await answerTo(ledger, terminal.clock, id, withinMs) : undefined;
  if (answer === undefined)
    terminal.say(
      alive
        ? 'the worker is still at it; the request is kept and tally status shows how far it is'
        : 'no worker runs; the request is kept and done at the next tally up',
    );
  return answer;
}
