import { errorText, isTallyError, TallyError, type ErrorCode } from '../core/errors.ts';
import type { FlowRequest } from '../flow/runner.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Worker } from './worker.ts';

const REQUESTS = 'requests';
const ANSWERS = 'answers';

/** What another process (the command line) asks of the worker that runs the flows. */
export type AppRequest =
  | { readonly of: 'flow'; readonly flow: string; readonly request: FlowRequest }
  | { readonly of: 'lane'; readonly lane: string; readonly request: 'resnapshot' };

type Answer =
  | { readonly done: number }
  | { readonly failed: { readonly code: ErrorCode; readonly message: string } };

/** Leaves a request in the ledger; it survives until a worker has done it. Returns its id. */
export async function leaveRequest(
  ledger: Ledger,
  random: Random,
  request: AppRequest,
): Promise<string> {
  const id = random.id();
  await ledger.commit([{ kind: 'put', space: REQUESTS, key: id, value: JSON.stringify(request) }]);
  return id;
}

/** Waits for the answer to a request; undefined if the limit passes first (the request stays). */
export async function answerTo(
  ledger: Ledger,
  clock: Clock,
  id: string,
  withinMs: number,
): Promise<number | undefined> {
  const startedAtMs = clock.monotonicMs();
  for (;;) {
    const record = await ledger.get(ANSWERS, id);
    if (record !== undefined) {
      await ledger.commit([{ kind: 'delete', space: ANSWERS, key: id }]);
      const answer = JSON.parse(record.value) as Answer;
      if ('done' in answer) return answer.done;
      // The message is whole already; its full stop is set again.
      throw new TallyError(answer.failed.code, { what: answer.failed.message.replace(/\.$/, '') });
    }
    if (clock.monotonicMs() - startedAtMs >= withinMs) return undefined;
    await clock.sleep(50);
  }
}

/** Does what was left in the ledger, each request on its own; one that takes long does not hold up the next look. */
export class RequestDesk {
  readonly #ledger: Ledger;
  readonly #worker: Worker;
  readonly #underWay = new Set<string>();

  constructor(ledger: Ledger, worker: Worker) {
    this.#ledger = ledger;
    this.#worker = worker;
  }

  /** Looks once and starts what is new. */
  async look(): Promise<void> {
    for (const { key, value } of await this.#ledger.list(REQUESTS)) {
      if (this.#underWay.has(key)) continue;
      this.#underWay.add(key);
      void this.#answer(key, JSON.parse(value) as AppRequest).catch(() =>
        this.#underWay.delete(key),
      );
    }
  }

  async #answer(id: string, request: AppRequest): Promise<void> {
    let answer: Answer;
    try {
      answer = { done: await this.#do(request) };
    } catch (error) {
      // Another worker has the flow or lane: the request stays for that one.
      if (isTallyError(error, 'LEASE_HELD', 'FENCED_OUT')) {
        this.#underWay.delete(id);
        return;
      }
      answer = {
        failed: { code: isTallyError(error) ? error.code : 'INTERNAL', message: errorText(error) },
      };
    }
    await this.#ledger.commit([
      { kind: 'delete', space: REQUESTS, key: id },
      { kind: 'put', space: ANSWERS, key: id, value: JSON.stringify(answer) },
    ]);
    this.#underWay.delete(id);
  }

  async #do(request: AppRequest): Promise<number> {
    const found =
      request.of === 'flow' ? this.#worker.flow(request.flow) : this.#worker.lane(request.lane);
    if (found === undefined)
      throw new TallyError('CONFIG_INVALID', {
        what: `there is no ${request.of} named ${JSON.stringify(request.of === 'flow' ? request.flow : request.lane)}`,
        mend: 'see tally status for the names',
      });
    return 'ask' in found && request.of === 'flow'
      ? found.ask(request.request)
      : (found as { resnapshot(): Promise<number> }).resnapshot();
  }
}
