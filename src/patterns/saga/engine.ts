import { isTallyError, TallyError } from '../../core/errors.ts';
import { checkDuration, checkOptions, checkString } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import type { Ledger } from '../../ports/ledger.ts';
import { readState } from './book.ts';
import type { SagaDefinition } from './definition.ts';
import { CANCEL, MAIL_MAX, mailOperation } from './mailbox.ts';
import { WORKER_LEASE_MS } from './membership.ts';
import type { SagaObserver } from './observer.ts';
import { type Decision, decide, findRecord } from './operations.ts';
import { outcomeOf, type SagaOutcome } from './outcome.ts';
import { type Head, isEnd, parseRecord, type SagaRecord } from './record.ts';
import { Registry } from './registry.ts';
import { resultsOf } from './results.ts';
import { checkSagaId, MAIL, READY, RECORDS, readyKey } from './spaces.ts';
import { type SagaSchedule, Schedules } from './schedule.ts';
import type { ResultOptions, SagaHandle, Sagas, SignalOptions, StartSagaOptions } from './port.ts';
import { startSaga } from './starter.ts';
import { listSagas, type ListOptions, type SagaView, showSaga, type SagaSummary } from './view.ts';
import { SagaWorker } from './worker.ts';

/** Sagas that one process runs at the same time; more of them wait in the ledger. */
const RUNNING_DEFAULT = 1_000;
/** How soon, and how seldom, an outcome is asked for that another process brings about. */
const POLL_FIRST_MS = 20;
const POLL_MAX_MS = 1_000;
/** A saga that runs here says itself when it ends; the ledger is asked only in case it moves elsewhere. */
const POLL_LOCAL_MS = 5_000;

export interface SagaEngineOptions {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly owner: string;
  readonly isDead: (owner: string) => boolean;
  readonly definitions: readonly SagaDefinition[];
  readonly schedules?: Readonly<Record<string, SagaSchedule>>;
  /** Whether this process runs sagas; one that does not may start them and wait. */
  readonly run: boolean;
  readonly observe?: SagaObserver;
  /** After how long without a sign of life a worker's sagas are taken over. Default 3 s. */
  readonly leaseMs?: number;
  /** Sagas that this process runs at the same time. Default 1,000. */
  readonly runningMax?: number;
}

/** Starts, asks and steers sagas; with `run` it also runs them. */
export class SagaEngine implements Sagas {
  readonly #options: SagaEngineOptions;
  readonly #observe: SagaObserver;
  readonly #registry: Registry;
  readonly #worker: SagaWorker | undefined;
  readonly #waiters = new Map<string, Set<(outcome: SagaOutcome) => void>>();

  constructor(options: SagaEngineOptions) {
    const { observe, leaseMs = WORKER_LEASE_MS, runningMax = RUNNING_DEFAULT } = options;
    this.#options = options;
    this.#observe = quiet(observe);
    const schedules = new Schedules(options.schedules ?? {});
    this.#registry = new Registry([...options.definitions, ...schedules.definitions]);
    if (!options.run) return;
    this.#worker = new SagaWorker({
      ...options,
      registry: this.#registry,
      observe: this.#observe,
      leaseMs,
      runningMax,
      startChild: (definition, id, input, parent) =>
        this.#startChild(definition, id, input, parent),
      cancelChild: (id, reason) => this.cancel(id, reason),
      onLook: () =>
        schedules.look(options.clock, (saga, id, input) => this.#start(saga, { id, input })),
      onLeft: (run, outcome) => {
        if (outcome === 'ended' || outcome === 'parked')
          this.#tell(run.id, outcomeOf(run.book.head, run.book.state, run.definition));
      },
    });
  }

  /** Sagas in the hands of this process. */
  get running(): number {
    return this.#worker?.running ?? 0;
  }

  /**
   * Starts a saga, durably: once this resolves it will come to an end, whatever dies. With an id that is known
   * already the saga of that id is answered, and nothing is started. Throws SAGA_RESULT_INVALID for an input that
   * cannot be recorded, CONFIG_INVALID, what `input` of the definition throws, and what the ledger throws: then
   * nothing was started, or (COMMIT_UNKNOWN) the same call with the same id finds out.
   */
  async start<Input, Results>(
    definition: SagaDefinition<Input, Results>,
    options: StartSagaOptions<Input>,
  ): Promise<SagaHandle<Results>> {
    checkOptions(options, ['input', 'id', 'priority'], 'start');
    const { input, id = this.#options.random.id(), priority } = options;
    const started = await this.#start(definition, {
      id,
      input,
      ...(priority === undefined ? {} : { priority }),
    });
    return {
      id,
      created: started.kind === 'created',
      result: (waiting) => this.result(definition, id, waiting),
    };
  }

  /**
   * Waits for the end of a saga, or until it is parked. After `within` it answers how the saga stands. Throws
   * SAGA_UNKNOWN, ABORTED, and what the ledger throws.
   */
  async result<Input, Results>(
    definition: SagaDefinition<Input, Results>,
    id: string,
    options: ResultOptions = {},
  ): Promise<SagaOutcome<Results>> {
    checkOptions(options, ['within', 'signal'], 'result');
    const { clock } = this.#options;
    const { signal } = options;
    const withinMs =
      options.within === undefined ? Infinity : checkDuration(options.within, 'result.within');
    const endsAtMs = clock.monotonicMs() + withinMs;
    let [told, stopListening] = this.#listen(id);
    try {
      for (let pollMs = POLL_FIRST_MS; ; pollMs = Math.min(POLL_MAX_MS, pollMs * 2)) {
        // What runs here tells of its end: the ledger need not be asked.
        if (this.#worker?.run(id) === undefined) {
          const outcome = await this.#outcome(definition, id);
          const isOver = isEnd(outcome.status) || outcome.status === 'parked';
          if (isOver || clock.monotonicMs() >= endsAtMs) return outcome as SagaOutcome<Results>;
        } else if (clock.monotonicMs() >= endsAtMs) return { status: 'running' };
        const isHere = this.#worker?.run(id) !== undefined;
        const waitMs = Math.min(endsAtMs - clock.monotonicMs(), isHere ? POLL_LOCAL_MS : pollMs);
        const outcome = await wait(told, waitMs, clock, signal);
        if (outcome !== undefined) return outcome as SagaOutcome<Results>;
      }
    } finally {
      stopListening();
    }
  }

  /**
   * Sends a signal; it is kept until the saga waits for it. Throws SAGA_UNKNOWN, SAGA_STATE if the saga has ended,
   * STORE_BUSY if too many lie there, SAGA_RESULT_INVALID for a payload that cannot be kept.
   */
  async signal(id: string, name: string, options: SignalOptions = {}): Promise<void> {
    checkOptions(options, ['payload', 'signalId'], 'signal');
    const signalId = options.signalId ?? this.#options.random.id();
    checkSagaId(signalId);
    checkString(name, 'signal.name', { charactersMax: 64 });
    await this.#send(id, name, signalId, options.payload ?? null);
  }

  /**
   * Asks a saga to go back. It does unless it is past the point of no return; then the journal says so. Throws
   * SAGA_UNKNOWN and SAGA_STATE if it has ended.
   */
  async cancel(id: string, reason: string): Promise<void> {
    await this.#send(id, CANCEL, 'cancel', reason.toWellFormed());
  }

  /** How one saga stands, with its whole history. Throws SAGA_UNKNOWN. */
  show(id: string): Promise<SagaView> {
    return showSaga(this.#options.ledger, id);
  }

  /** Sagas by id, or the parked ones, a page at a time. */
  list(options: ListOptions = {}): Promise<readonly SagaSummary[]> {
    return listSagas(this.#options.ledger, options);
  }

  /** Decides about a parked saga. Throws SAGA_UNKNOWN, SAGA_STATE, LEDGER_CONFLICT. */
  async decide(id: string, decision: Decision): Promise<void> {
    const { ledger, clock } = this.#options;
    const head = await decide(ledger, clock, id, decision);
    const { operation, by, reason } = decision;
    this.#observe({ kind: 'operated', id, saga: head.saga, operation, by, reason });
    this.#worker?.lookSoon();
  }

  /** Stops running sagas: what is under way comes to its end, the rest is given back. */
  async close(): Promise<void> {
    await this.#worker?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(
    definition: SagaDefinition,
    options: {
      readonly id: string;
      readonly input: unknown;
      readonly priority?: number;
      readonly parent?: NonNullable<Head['parent']>;
    },
  ): Promise<{ readonly kind: 'created' | 'existed'; readonly head: Head }> {
    this.#registry.add(definition);
    const worker = this.#worker?.reserve();
    try {
      const started = await startSaga(this.#options, definition, { ...options, worker });
      if (started.kind === 'existed') return started;
      this.#observe({ kind: 'started', id: options.id, saga: definition.name });
      if (started.book === undefined) this.#worker?.lookSoon();
      else this.#worker?.adopt(definition, started.book, true);
      return started;
    } finally {
      if (worker !== undefined) this.#worker?.settle();
    }
  }

  async #startChild(
    definition: SagaDefinition,
    id: string,
    input: unknown,
    parent: NonNullable<Head['parent']>,
  ): Promise<{ readonly head: Head; readonly results: unknown }> {
    const { ledger } = this.#options;
    const found = await ledger.get(RECORDS, id);
    if (found === undefined) {
      const { head } = await this.#start(definition, { id, input, parent });
      return { head, results: undefined };
    }
    const record = parseRecord(found);
    if (record.head.status !== 'completed') return { head: record.head, results: undefined };
    const state = await readState(ledger, record);
    return { head: record.head, results: resultsOf(definition.nodes, state) };
  }

  async #send(id: string, name: string, signalId: string, payload: Value): Promise<void> {
    const { ledger, clock } = this.#options;
    const record = await findRecord(ledger, id);
    const { head } = record;
    if (isEnd(head.status)) {
      // Who sends until it is answered may send again what ended it.
      const { signalIds } = await readState(ledger, record);
      if (signalIds.has(`${name}/${signalId}`)) return;
      throw new TallyError('SAGA_STATE', {
        what: `saga ${id} has ended: it is ${head.status}`,
        mend: 'nothing can be said to it any more',
        details: { id, status: head.status },
      });
    }
    const waiting = await ledger.list(MAIL, { prefix: `${id}/`, limit: MAIL_MAX });
    if (waiting.length >= MAIL_MAX)
      throw new TallyError('STORE_BUSY', {
        what: `${MAIL_MAX} signals already wait for saga ${id}`,
        mend: 'send no more until it takes them in',
        details: { id, max: MAIL_MAX },
      });
    const nowMs = clock.nowMs();
    const key = readyKey(head.priority, nowMs, id, signalId);
    try {
      await ledger.commit([
        mailOperation(id, { name, signalId, payload, atMs: nowMs }),
        { kind: 'put', space: READY, key, value: id },
      ]);
    } catch (error) {
      // The same signal was sent before.
      if (!isTallyError(error, 'LEDGER_CONFLICT')) throw error;
      return;
    }
    const run = this.#worker?.run(id);
    if (run === undefined) this.#worker?.lookSoon();
    else run.poke(key);
  }

  async #outcome(definition: SagaDefinition, id: string): Promise<SagaOutcome> {
    const { ledger } = this.#options;
    const record: SagaRecord = await findRecord(ledger, id);
    const { status } = record.head;
    if (!isEnd(status) && status !== 'parked') return { status };
    return outcomeOf(record.head, await readState(ledger, record), definition);
  }

  #listen(id: string): [Promise<SagaOutcome>, () => void] {
    const { promise, resolve } = Promise.withResolvers<SagaOutcome>();
    const waiters = this.#waiters.get(id) ?? new Set();
    this.#waiters.set(id, waiters.add(resolve));
    return [
      promise,
      () => {
        waiters.delete(resolve);
        if (waiters.size === 0) this.#waiters.delete(id);
      },
    ];
  }

  #tell(id: string, outcome: SagaOutcome): void {
    for (const resolve of this.#waiters.get(id) ?? []) resolve(outcome);
  }
}

/** What was told, or undefined once the time is over. */
async function wait(
  told: Promise<SagaOutcome>,
  waitMs: number,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<SagaOutcome | undefined> {
  const ending = new AbortController();
  const both = signal === undefined ? ending.signal : AbortSignal.any([ending.signal, signal]);
  const sleep = clock.sleep(waitMs, both).catch((error: unknown) => {
    if (signal?.aborted === true) throw error;
  });
  try {
    return (await Promise.race([told, sleep])) ?? undefined;
  } finally {
    ending.abort();
  }
}

/** An observer that throws disturbs nobody. */
function quiet(observe: SagaObserver | undefined): SagaObserver {
  if (observe === undefined) return () => undefined;
  return (event) => {
    try {
      observe(event);
    } catch {
      // What it does with what it hears is its own affair.
    }
  };
}
