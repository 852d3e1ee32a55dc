import { TallyError } from '../../core/errors.ts';
import type { LedgerRecord } from '../../ports/ledger.ts';
import { BACKOFF_DEFAULT, backoffMs } from '../../runtime/backoff.ts';
import type { SagaBook } from './book.ts';
import { claim } from './claim.ts';
import type { SagaDefinition } from './definition.ts';
import { errorRecord } from './journal.ts';
import { join, type Member, Watch } from './membership.ts';
import { Places } from './places.ts';
import { isEnd, parseRecord, type SagaRecord } from './record.ts';
import type { Registry } from './registry.ts';
import { forgetEnded } from './retention.ts';
import type { RunHost } from './run-host.ts';
import { type RunOutcome, SagaRun } from './run.ts';
import { OWNED, READY, RECORDS, timeKey, timeOf, TIMERS } from './spaces.ts';

/** How often a worker looks for what others left it: sagas that are ready, timers, workers that are gone. */
const LOOK_MS = 500;
/** Sagas that one look takes up at most; it looks again at once while there are more. */
const TAKEN_PER_LOOK_MAX = 256;
/** Wake-ups that one look of a worker without room goes through. */
const POKED_PER_LOOK_MAX = 1_000;
/** How long sagas that are under way are waited for when a worker stops, before they are told to. */
const DRAIN_MS = 5_000;
/** How often a worker looks for what it lost sight of, and forgets ended sagas that are old enough. */
const TIDY_EVERY_MS = 10_000;
/** Sagas without a definition that are remembered, so as to tell of each only once. */
const UNKNOWN_MAX = 10_000;

export interface WorkerOptions extends Omit<RunHost, 'enter'> {
  readonly registry: Registry;
  readonly owner: string;
  readonly isDead: (owner: string) => boolean;
  readonly leaseMs: number;
  readonly runningMax: number;
  /** What else is to be looked for at each look. */
  readonly onLook: () => Promise<void>;
  /** A saga has come to an end, or is parked, here. */
  readonly onLeft: (run: SagaRun, outcome: RunOutcome) => void;
}

/**
 * Runs sagas: those that are started here, those that are ready, those whose time has come, and those of workers that
 * are gone. Holds a lease only so that others see that it is there; what protects a saga is its record's version.
 */
export class SagaWorker {
  readonly #options: WorkerOptions;
  readonly #host: RunHost;
  readonly #runs = new Map<string, SagaRun>();
  /** Sagas that are about to be in its hands. */
  #reserved = 0;
  /** Whether sagas may wait in the ledger for a place here: then a new one waits behind those before it. */
  #isBehind = false;
  #pokedUpTo: string | undefined;
  readonly #driving = new Set<Promise<void>>();
  readonly #unknown = new Set<string>();
  readonly #stopping = new AbortController();
  #member: Member | undefined;
  #watch: Watch;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #cancelLook = (): void => undefined;
  #lookAtMs = Infinity;
  #tidyAtMs = 0;
  readonly #life: Promise<void>;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const places = new Places(options);
    this.#host = { ...options, enter: (request) => places.enter(request) };
    this.#watch = new Watch(options);
    this.#life = this.#live();
  }

  /** Sagas that are in its hands. */
  get running(): number {
    return this.#runs.size;
  }

  /**
   * The name under which a saga may be started here, and a place for it; undefined while there is none, or others wait
   * for one, or it is nobody among the others. The place is given back by {@link SagaWorker.settle}.
   */
  reserve(): string | undefined {
    const member = this.#member?.id;
    if (member === undefined) return undefined;
    this.#isBehind ||= this.#room === 0;
    if (this.#isBehind) return undefined;
    this.#reserved += 1;
    return member;
  }

  /** What was reserved is in its hands now, or is not needed. */
  settle(): void {
    this.#reserved -= 1;
  }

  /** How many more it may take. */
  get #room(): number {
    if (this.#stopping.signal.aborted || this.#member === undefined) return 0;
    return Math.max(0, this.#options.runningMax - this.#runs.size - this.#reserved);
  }

  run(id: string): SagaRun | undefined {
    return this.#runs.get(id);
  }

  /** Runs a saga that was started in its name. */
  adopt(definition: SagaDefinition, book: SagaBook, fresh: boolean): void {
    const run = new SagaRun(this.#host, definition, book, fresh);
    this.#runs.set(run.id, run);
    // The worker whose name it carries may have lost its lease while the record was written.
    if (book.head.owner !== this.#member?.id) run.lose(lostLease());
    const driving = this.#drive(run);
    this.#driving.add(driving);
    void driving.finally(() => this.#driving.delete(driving));
  }

  async #drive(run: SagaRun): Promise<void> {
    const outcome = await run.drive();
    this.#runs.delete(run.id);
    const { head } = run.book;
    if (outcome === 'lost')
      this.#options.observe({
        kind: 'lost',
        id: run.id,
        saga: head.saga,
        error: errorRecord(run.loss),
      });
    this.#options.onLeft(run, outcome);
    if (outcome === 'waiting' && head.timerKey !== null) this.#lookAt(timeOf(head.timerKey));
    if (run.wasPoked || outcome === 'ended') this.lookSoon();
  }

  /** Looks for something to do now. */
  lookSoon(): void {
    if (this.#looking !== undefined) this.#lookAgain = true;
    else if (this.#member !== undefined) this.#lookNow();
  }

  /** Begins nothing more, waits for what is under way, gives back the rest. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#cancelLook();
    await this.#looking;
    for (const run of this.#runs.values()) run.stop();
    const cancel = this.#options.clock.after(DRAIN_MS, () => {
      for (const run of this.#runs.values())
        run.abort(new TallyError('ABORTED', { what: 'the worker stops' }));
    });
    await Promise.all(this.#driving);
    cancel();
    await this.#life;
    await this.#member?.lease.release();
  }

  /** Joins the workers, and again whenever its lease was lost. */
  async #live(): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#stopping;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        this.#member = await join(this.#options);
        attempt = 0;
        this.#watch = new Watch(this.#options);
        this.#lookNow();
        await oneAborted(this.#member.lease.signal, signal);
        if (signal.aborted) return;
        this.#member = undefined;
        for (const run of this.#runs.values()) run.lose(lostLease());
      } catch {
        // A ledger that is away: there is nothing to run until it is back.
      }
      await clock
        .sleep(backoffMs(Math.max(1, attempt), BACKOFF_DEFAULT, random), signal)
        .catch(() => undefined);
    }
  }

  #lookNow(): void {
    this.#cancelLook();
    this.#lookAtMs = Infinity;
    this.#lookAgain = false;
    this.#looking = this.#lookOnce();
  }

  async #lookOnce(): Promise<void> {
    // A ledger that is away for a moment: the next look tries again.
    await this.#look().catch(() => undefined);
    this.#looking = undefined;
    if (this.#stopping.signal.aborted) return;
    if (this.#lookAgain) this.#lookNow();
    else this.#lookAt(this.#options.clock.nowMs() + LOOK_MS);
  }

  #lookAt(atMs: number): void {
    if (atMs >= this.#lookAtMs || this.#looking !== undefined) return;
    this.#lookAtMs = atMs;
    this.#cancelLook();
    const { clock } = this.#options;
    this.#cancelLook = clock.after(Math.min(LOOK_MS, atMs - clock.nowMs()), () => this.#lookNow());
  }

  async #look(): Promise<void> {
    const { ledger, clock } = this.#options;
    const self = this.#member?.id;
    if (self === undefined || this.#stopping.signal.aborted) return;
    this.#isBehind = (await this.#takeAll(READY)) === 'full';
    if (this.#isBehind) await this.#pokeSome();
    await this.#takeAll(TIMERS, timeKey(clock.nowMs() + 1));
    for (const owner of await this.#watch.gone(self))
      await this.#takeAll(OWNED, undefined, `${owner}/`);
    await this.#options.onLook();
    if (clock.monotonicMs() < this.#tidyAtMs) return;
    this.#tidyAtMs = clock.monotonicMs() + TIDY_EVERY_MS;
    // What carries its name and is not in its hands: a run that failed in a way that nobody thought of.
    await this.#takeAll(OWNED, undefined, `${self}/`);
    await forgetEnded(ledger, clock.nowMs());
  }

  /**
   * Takes up what a space lists, in its order, up to a key, as far as there is room; whether it saw all. No more at a time
   * than there is room for: what comes first in the list comes first here, unless it cannot be taken.
   */
  async #takeAll(space: string, below?: string, prefix?: string): Promise<'all' | 'full'> {
    let after: string | undefined;
    for (;;) {
      if (this.#room === 0) return 'full';
      const records = await this.#options.ledger.list(space, {
        limit: TAKEN_PER_LOOK_MAX,
        ...(prefix === undefined ? {} : { prefix }),
        ...(after === undefined ? {} : { after }),
      });
      const due = records.filter(({ key }) => below === undefined || key < below);
      for (let taken = 0; taken < due.length;) {
        const room = this.#room;
        if (room === 0) return 'full';
        const some = due.slice(taken, taken + room);
        taken += some.length;
        await Promise.all(some.map((record) => this.#take(space, record)));
      }
      after = records.at(-1)?.key;
      if (due.length < TAKEN_PER_LOOK_MAX) return 'all';
    }
  }

  /**
   * Tells sagas here that something has come for them, while there is no room for others: some of the list at each look,
   * where that of a crowded ledger is long.
   */
  async #pokeSome(): Promise<void> {
    const after = this.#pokedUpTo;
    const records = await this.#options.ledger.list(READY, {
      limit: POKED_PER_LOOK_MAX,
      ...(after === undefined ? {} : { after }),
    });
    for (const { key, value: id } of records) this.#runs.get(id)?.poke(key);
    this.#pokedUpTo = records.length < POKED_PER_LOOK_MAX ? undefined : records.at(-1)?.key;
  }

  async #take(space: string, { key, value: id }: LedgerRecord): Promise<void> {
    const here = this.#runs.get(id);
    if (here !== undefined) {
      // It stays listed until the saga is in nobody's hands, and is claimed after it was read: no wake-up is lost.
      if (space === READY) here.poke(key);
      return;
    }
    if (this.#unknown.has(id) || this.#room === 0) return;
    this.#reserved += 1;
    try {
      await this.#claim(space, key, id);
    } finally {
      this.#reserved -= 1;
    }
  }

  async #claim(space: string, key: string, id: string): Promise<void> {
    const { ledger, registry, observe } = this.#options;
    const found = await ledger.get(RECORDS, id);
    const record = found === undefined ? undefined : parseRecord(found);
    if (record === undefined || isEnd(record.head.status) || record.head.status === 'parked') {
      await ledger.commit([{ kind: 'delete', space, key }]);
      return;
    }
    const { head } = record;
    if (!this.#mayTake(space, record)) return;
    const known = registry.find(head);
    if (known.kind !== 'known') {
      if (this.#unknown.size >= UNKNOWN_MAX) this.#unknown.clear();
      this.#unknown.add(id);
      const { saga, version } = head;
      observe({ kind: 'unknown-definition', id, saga, version, why: known.kind });
      return;
    }
    const worker = this.#member?.id;
    if (worker === undefined || this.#stopping.signal.aborted || this.#runs.has(id)) return;
    const { definition } = known;
    const book = await claim({
      parts: this.#host,
      definition,
      record,
      worker,
      via: { space, key },
    });
    if (book === undefined) return;
    if (head.owner !== null) observe({ kind: 'taken', id, saga: head.saga, from: head.owner });
    this.adopt(definition, book, false);
  }

  /** A saga in somebody's hands is taken only from a worker that is gone, or that was this one under this name. */
  #mayTake(space: string, { head }: SagaRecord): boolean {
    return head.owner === null || space === OWNED || head.owner === this.#member?.id;
  }
}

function lostLease(): TallyError {
  return new TallyError('FENCED_OUT', {
    what: 'the worker lost its lease',
    mend: 'nothing; another worker goes on with its sagas',
  });
}

/**
 * Resolves when one of the signals aborts. Not by `AbortSignal.any`: Node keeps a signal of several, and all that its
 * listeners reach, for as long as none of them has aborted.
 */
async function oneAborted(...signals: readonly AbortSignal[]): Promise<void> {
  if (signals.some(({ aborted }) => aborted)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  for (const signal of signals) signal.addEventListener('abort', wake, { once: true });
  await promise;
  for (const signal of signals) signal.removeEventListener('abort', wake);
}
