import { errorText, isTallyError, TallyError } from '../../core/errors.ts';
import type { SagaBook } from './book.ts';
import type { SagaDefinition } from './definition.ts';
import { complete, compensated, park, release, suspend } from './finish.ts';
import { runChoice, runItems } from './decide.ts';
import { CANCEL, type Mail, readMail, takeOperation } from './mailbox.ts';
import { type Action, plan } from './plan.ts';
import type { RunHost } from './run-host.ts';
import { READY } from './spaces.ts';
import { runStep } from './step.ts';
import { runUndo } from './undo.ts';
import { look } from './wait.ts';

/**
 * A wait that is shorter than this is waited for in memory; a longer one is left to the ledger, and any worker may go
 * on with the saga then.
 */
const HOLD_MS = 5_000;

/** How a run came to its end: the saga's end, parked, waiting in the ledger, given back, or in other hands. */
export type RunOutcome = 'ended' | 'parked' | 'waiting' | 'released' | 'lost';

interface UnderWay {
  readonly action: Action;
  readonly controller: AbortController;
}

/**
 * One saga in the hands of a worker: asks the plan what can be done, does it, records it, and asks again, until there
 * is nothing left to do here.
 */
export class SagaRun {
  readonly host: RunHost;
  readonly definition: SagaDefinition;
  readonly book: SagaBook;
  readonly #underWay = new Map<string, UnderWay>();
  #mail: Mail[] = [];
  #mailUnread: boolean;
  readonly #told = new Set<string>();
  #stopping = false;
  #lost: TallyError | undefined;
  #overdue = false;
  #changed = Promise.withResolvers<void>();

  /** `fresh`: it was started just now, and nobody can have sent it anything. */
  constructor(host: RunHost, definition: SagaDefinition, book: SagaBook, fresh: boolean) {
    this.host = host;
    this.definition = definition;
    this.book = book;
    this.#mailUnread = !fresh;
  }

  get id(): string {
    return this.book.head.id;
  }

  /** Whether it has lost the saga, or has no right to go on for another reason. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Why it was lost. */
  get loss(): TallyError | undefined {
    return this.#lost;
  }

  /** Whether something has come that it has not looked at. */
  get wasPoked(): boolean {
    return this.#mailUnread;
  }

  /** Something has come for it; `readyKey` says so in the ledger, and goes once it was looked at. */
  poke(readyKey?: string): void {
    this.#mailUnread = true;
    if (readyKey !== undefined) this.#told.add(readyKey);
    this.#wake();
  }

  /** Begins nothing more; what is under way comes to its end, and the saga is given back. */
  stop(): void {
    this.#stopping = true;
    this.#wake();
  }

  /** Tells what is under way to stop, as `stop` did not end it in time. */
  abort(reason: TallyError): void {
    for (const { controller } of this.#underWay.values()) controller.abort(reason);
  }

  /** Another worker may have it: nothing more is recorded. */
  lose(error: TallyError): void {
    this.#lost ??= error;
    this.book.lose(error);
    this.abort(error);
    this.#wake();
  }

  /** Runs until there is nothing left to do here. Never rejects. */
  async drive(): Promise<RunOutcome> {
    try {
      for (;;) {
        const outcome = await this.#turn();
        if (outcome !== undefined) return outcome;
      }
    } catch (error) {
      const failure = isTallyError(error)
        ? error
        : new TallyError('INTERNAL', {
            what: `saga ${this.id} cannot go on here: ${errorText(error)}`,
            cause: error,
          });
      this.lose(failure);
      await this.#settled();
      return 'lost';
    }
  }

  /** The mail of this name that lies there, the oldest; what was taken in before under its id is thrown away. */
  signal(name: string): Mail | undefined {
    const { signalIds } = this.book.state;
    for (const mail of this.#mail) {
      if (mail.name !== name) continue;
      if (!signalIds.has(`${name}/${mail.signalId}`)) return mail;
      this.takeOut(mail);
    }
    return undefined;
  }

  /** Takes a signal out of the mail, in the same step as what is recorded of it. */
  takeOut(mail: Mail): void {
    this.#mail = this.#mail.filter((other) => other !== mail);
    this.book.also(takeOperation(mail));
  }

  /** From now on it goes back. What is under way is told to stop. */
  fail(why: 'cancelled' | 'deadline', error: TallyError): void {
    this.book.add({ kind: 'failing', why, error: { code: error.code, message: error.message } });
    this.abort(error);
  }

  async #turn(): Promise<RunOutcome | undefined> {
    if (this.#lost !== undefined) throw this.#lost;
    this.#changed = Promise.withResolvers();
    if (this.#mailUnread) await this.#readMail();
    this.#turnBackInTime();
    const { state } = this.book;
    const isBusy = this.#underWay.size > 0;
    if (state.parked !== undefined) {
      if (!isBusy) return park(this);
      return this.#wait(Infinity);
    }
    // What goes forward ends before it is even looked at what is to be undone. Otherwise: 1. a step is cancelled  2. its
    // undo finds nothing  3. the step takes effect.
    if (state.direction === 'back' && this.#isGoingForward()) return this.#wait(Infinity);
    const next = plan(this.definition.nodes, state);
    if (next.kind !== 'act' && !isBusy)
      return next.kind === 'complete' ? complete(this) : compensated(this);
    const actions = next.kind === 'act' ? next.actions : [];
    const due = await this.#begin(actions);
    if (due === undefined) return undefined;
    if (this.#underWay.size > 0) return this.#wait(due);
    if (this.#stopping) return release(this);
    const leftMs = Math.min(due, this.#deadline()) - this.host.clock.nowMs();
    if (leftMs <= HOLD_MS) return this.#wait(due);
    return suspend(this, Math.min(due, this.#deadline()));
  }

  /**
   * Begins what can be done. Answers when the next wait is over; undefined if something was recorded at once, and the
   * plan has to be asked again.
   */
  async #begin(actions: readonly Action[]): Promise<number | undefined> {
    let due = Infinity;
    for (const action of actions) {
      const name = nameOf(action);
      if (this.#underWay.has(name)) continue;
      const seen = await look(this, action);
      if (seen === 'recorded') return undefined;
      if (seen !== 'now') due = Math.min(due, seen);
      else if (!this.#stopping) this.#start(name, action);
    }
    return due;
  }

  #start(name: string, action: Action): void {
    const controller = new AbortController();
    this.#underWay.set(name, { action, controller });
    void this.#perform(action, controller)
      .catch((error: unknown) => {
        if (this.#lost === undefined)
          this.lose(
            isTallyError(error)
              ? error
              : new TallyError('INTERNAL', { what: errorText(error), cause: error }),
          );
      })
      .finally(() => {
        this.#underWay.delete(name);
        this.#wake();
      });
  }

  #perform(action: Action, controller: AbortController): Promise<void> {
    switch (action.kind) {
      case 'do':
        return runStep(this, action, controller);
      case 'undo':
        return runUndo(this, action, controller);
      case 'choose':
        return runChoice(this, action, controller);
      case 'items':
        return runItems(this, action, controller);
      default:
        throw new TallyError('INTERNAL', { what: `a ${action.kind} is waited for, not begun` });
    }
  }

  async #readMail(): Promise<void> {
    this.#mailUnread = false;
    const told = [...this.#told];
    this.#told.clear();
    this.#mail = [...(await readMail(this.host.ledger, this.id))];
    // After the mail was read, never before: what says that there is some stays until it was looked at.
    for (const key of told) this.book.also({ kind: 'delete', space: READY, key });
  }

  /** Cancels it, or turns it back at its deadline, unless it is past the point of no return. */
  #turnBackInTime(): void {
    const { state, head } = this.book;
    const wish = this.#mail.find(({ name }) => name === CANCEL);
    const isOverdue = (head.deadlineAtMs ?? Infinity) <= this.host.clock.nowMs();
    if (wish === undefined && !isOverdue) return;
    // Whether the pivot took effect has to be known first. Otherwise: 1. the card is charged  2. the worker dies
    // 3. the saga is cancelled and goes back: charged for nothing.
    if (!state.committed && state.direction === 'forward' && this.#isPivotInDoubt()) return;
    if (wish !== undefined) {
      this.takeOut(wish);
      const reason = errorText(wish.payload);
      if (state.committed && state.direction === 'forward')
        this.book.add({ kind: 'cancel-refused', reason });
      else if (state.direction === 'forward')
        this.fail('cancelled', new TallyError('ABORTED', { what: `cancelled: ${reason}` }));
    }
    if (!isOverdue || state.direction === 'back') return;
    if (!state.committed)
      this.fail('deadline', new TallyError('STEP_TIMEOUT', { what: 'the deadline has passed' }));
    else if (!this.#overdue) {
      this.#overdue = true;
      this.host.observe({ kind: 'overdue', id: this.id, saga: head.saga });
    }
  }

  /** Whether a step after which there is no way back was begun, and it is not known whether it took effect. */
  #isPivotInDoubt(): boolean {
    const next = plan(this.definition.nodes, this.book.state);
    return (
      next.kind === 'act' &&
      next.actions.some(
        (action) =>
          action.kind === 'do' &&
          action.node.class !== 'compensatable' &&
          (this.#underWay.has(nameOf(action)) ||
            this.book.state.steps.get(action.path)?.outcome === 'unknown'),
      )
    );
  }

  /** When to look at the deadline; Infinity once it has no say any more, or is only waiting for the pivot. */
  #deadline(): number {
    const { state, head } = this.book;
    if (state.direction === 'back' || state.committed) return Infinity;
    if ((head.deadlineAtMs ?? Infinity) <= this.host.clock.nowMs()) return Infinity;
    return head.deadlineAtMs ?? Infinity;
  }

  #isGoingForward(): boolean {
    return [...this.#underWay.values()].some(({ action }) => action.kind !== 'undo');
  }

  async #wait(due: number): Promise<undefined> {
    const untilMs = Math.min(due, this.#deadline());
    let cancel = (): void => undefined;
    if (untilMs !== Infinity) {
      const timer = Promise.withResolvers<void>();
      cancel = this.host.clock.after(untilMs - this.host.clock.nowMs(), timer.resolve);
      await Promise.race([this.#changed.promise, timer.promise]);
    } else await this.#changed.promise;
    cancel();
    return undefined;
  }

  async #settled(): Promise<void> {
    while (this.#underWay.size > 0) {
      this.#changed = Promise.withResolvers();
      await this.#changed.promise;
    }
  }

  #wake(): void {
    this.#changed.resolve();
  }
}

function nameOf({ kind, path }: Action): string {
  return `${kind} ${path}`;
}
