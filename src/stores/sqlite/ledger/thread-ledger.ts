import { errorText, TallyError } from '../../../core/errors.ts';
import type {
  LeaseRecord,
  Ledger,
  LedgerOperation,
  LedgerRecord,
  LedgerResult,
  LedgerSupports,
} from '../../../ports/ledger.ts';
import { errorFrom, type FailureMessage } from '../failures.ts';
import { StoreThread } from '../thread.ts';
import { checkName, checkStep } from './limits.ts';
import type { Answer, ListOptions, Read, ReadAnswer, Request, WorkerSetup } from './messages.ts';

/** Steps and reads that may wait; beyond it callers are sent back instead of filling the memory. */
export const WAITING_MAX = 100_000;
export const WAITING_BYTES_MAX: number = 256 * 1024 * 1024;
/** One flush takes this much at most, so that nobody waits for a transaction without end. */
const FLUSH_STEPS_MAX = 8_192;
const FLUSH_BYTES_MAX = 16 * 1024 * 1024;

// The sources are run as they are, the build is JavaScript: the worker is what this file is.
const program = import.meta.url.endsWith('.ts')
  ? new URL('./worker.ts', import.meta.url)
  : new URL('./worker.js', import.meta.url);

interface WaitingStep {
  readonly operations: readonly LedgerOperation[];
  readonly bytes: number;
  readonly resolve: (result: LedgerResult) => void;
  readonly reject: (error: TallyError) => void;
}

interface WaitingRead {
  readonly read: Read;
  readonly resolve: (answer: ReadAnswer) => void;
  readonly reject: (error: TallyError) => void;
}

/** Opens the ledger's thread and, in it, the file. Throws what the file refuses with. */
export async function openThreadLedger(setup: WorkerSetup): Promise<ThreadLedger> {
  const ledger = new ThreadLedger(setup);
  await ledger.opened;
  return ledger;
}

/**
 * The caller's side of the ledger: it gathers what waits into one message per flush. While a flush
 * is under way later callers queue, and the next message carries all of them: the slower the disk,
 * the more steps share a commit.
 */
class ThreadLedger implements Ledger {
  readonly supports: LedgerSupports = { durable: true, shared: false };
  /** Settles when the file is open, or with the reason why it is not. */
  readonly opened: Promise<void>;
  readonly #where: string;
  readonly #thread: StoreThread<Request, Answer>;
  readonly #opening: PromiseWithResolvers<void> = Promise.withResolvers();
  #steps: WaitingStep[] = [];
  #reads: WaitingRead[] = [];
  #waitingBytes = 0;
  /** What the message under way carries; undefined while none is. */
  #underWay:
    { readonly steps: readonly WaitingStep[]; readonly reads: readonly WaitingRead[] } | undefined;
  #flushPlanned = false;
  #dead: FailureMessage | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(setup: WorkerSetup) {
    this.#where = setup.where;
    this.opened = this.#opening.promise;
    this.#thread = new StoreThread(
      { name: 'tallystick-ledger', program, setup },
      {
        answer: (answer) => this.#hear(answer),
        died: (cause) => this.#die(cause),
      },
    );
  }

  commit(operations: readonly LedgerOperation[]): Promise<LedgerResult> {
    return new Promise((resolve, reject) => {
      this.#assertUsable();
      const bytes = checkStep(operations, this.#where);
      if (this.#waitingBytes + bytes > WAITING_BYTES_MAX) throw this.#crowded();
      this.#waitingBytes += bytes;
      this.#steps.push({ operations, bytes, resolve, reject });
      this.#plan();
    });
  }

  async get(space: string, key: string): Promise<LedgerRecord | undefined> {
    checkName(space, 'a space', this.#where);
    checkName(key, 'a key', this.#where);
    return (await this.#read({ kind: 'get', space, key })) as LedgerRecord | undefined;
  }

  async list(space: string, options: ListOptions = {}): Promise<readonly LedgerRecord[]> {
    checkName(space, 'a space', this.#where);
    for (const text of [options.prefix, options.after])
      if (text !== undefined) checkName(text, 'a prefix or key', this.#where);
    return (await this.#read({ kind: 'list', space, options })) as readonly LedgerRecord[];
  }

  async leases(): Promise<readonly LeaseRecord[]> {
    return (await this.#read({ kind: 'leases' })) as readonly LeaseRecord[];
  }

  /** Lets what waits come to its end, then closes the file. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #read(read: Read): Promise<ReadAnswer> {
    return new Promise((resolve, reject) => {
      this.#assertUsable();
      this.#reads.push({ read, resolve, reject });
      this.#plan();
    });
  }

  /**
   * The flush is sent when the callers that run now have all had their say: a tick comes after the
   * promises that are settled already, so the 64 who were answered together ask again together.
   */
  #plan(): void {
    if (this.#flushPlanned || this.#underWay !== undefined) return;
    this.#flushPlanned = true;
    process.nextTick(() => {
      this.#flushPlanned = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#dead !== undefined || this.#underWay !== undefined) return;
    if (this.#steps.length === 0 && this.#reads.length === 0) {
      this.#thread.rest();
      this.#drained?.();
      return;
    }
    const steps = this.#takeSteps();
    const reads = this.#reads;
    this.#reads = [];
    this.#underWay = { steps, reads };
    this.#thread.ask({
      steps: steps.map((step) => step.operations),
      reads: reads.map((waiting) => waiting.read),
    });
  }

  /** The steps of the next flush, in the order of the calls. */
  #takeSteps(): readonly WaitingStep[] {
    let count = 0;
    let bytes = 0;
    for (const step of this.#steps) {
      if (count > 0 && (count >= FLUSH_STEPS_MAX || bytes + step.bytes > FLUSH_BYTES_MAX)) break;
      count += 1;
      bytes += step.bytes;
    }
    this.#waitingBytes -= bytes;
    if (count === this.#steps.length) {
      const all = this.#steps;
      this.#steps = [];
      return all;
    }
    return this.#steps.splice(0, count);
  }

  #hear(answer: Answer): void {
    switch (answer.kind) {
      case 'opened':
        this.#thread.rest();
        this.#opening.resolve();
        return;
      case 'refused':
        this.#dead = answer.reason;
        this.#opening.reject(errorFrom(answer.reason));
        return;
      case 'answered':
        this.#settle(answer);
        this.#plan();
    }
  }

  #settle(answer: Extract<Answer, { readonly kind: 'answered' }>): void {
    const underWay = this.#underWay;
    if (underWay === undefined) return;
    this.#underWay = undefined;
    const outcomes = answer.steps;
    for (const [index, step] of underWay.steps.entries()) {
      const outcome = 'code' in outcomes ? outcomes : outcomes[index];
      if (Array.isArray(outcome)) step.resolve(outcome);
      else step.reject(errorFrom(outcome ?? this.#gone('the ledger thread left out an answer')));
    }
    for (const [index, waiting] of underWay.reads.entries()) {
      const read = answer.reads[index] ?? {
        reason: this.#gone('the ledger thread left out an answer'),
      };
      if ('reason' in read) waiting.reject(errorFrom(read.reason));
      else waiting.resolve(read.answer);
    }
  }

  /**
   * The thread is gone. What had been sent may be in the file or not, and only reading it can tell;
   * what still waited is certainly not.
   */
  #die(cause: unknown): void {
    const reason = (this.#dead ??= this.#gone(
      cause === undefined
        ? 'the ledger thread has ended'
        : `the ledger thread died: ${errorText(cause)}`,
    ));
    this.#opening.reject(errorFrom(reason));
    const unknown: FailureMessage = {
      code: 'COMMIT_UNKNOWN',
      failure: { ...reason.failure, mend: 'open the ledger again and read before deciding' },
    };
    for (const step of this.#underWay?.steps ?? []) step.reject(errorFrom(unknown));
    const rest = [...(this.#underWay?.reads ?? []), ...this.#steps, ...this.#reads];
    for (const waiting of rest) waiting.reject(errorFrom(reason));
    this.#underWay = undefined;
    this.#steps = [];
    this.#reads = [];
    this.#waitingBytes = 0;
    this.#drained?.();
  }

  async #close(): Promise<void> {
    if (this.#dead !== undefined) return;
    if (this.#underWay !== undefined || this.#steps.length > 0 || this.#reads.length > 0)
      await new Promise<void>((resolve) => (this.#drained = resolve));
    if (this.#dead === undefined) await this.#thread.close();
  }

  #assertUsable(): void {
    if (this.#closing !== undefined) {
      throw new TallyError('STORE_CLOSED', {
        what: 'the ledger was used after it was closed',
        where: this.#where,
        mend: 'stop what uses the ledger before closing it',
      });
    }
    if (this.#dead !== undefined) throw errorFrom(this.#dead);
    if (this.#steps.length + this.#reads.length >= WAITING_MAX) throw this.#crowded();
  }

  #crowded(): TallyError {
    return new TallyError('STORE_BUSY', {
      what: `${this.#steps.length + this.#reads.length} calls already wait for the ledger`,
      where: this.#where,
      mend: 'let callers wait for their answers before they ask again',
      details: { waitingMax: WAITING_MAX, waitingBytesMax: WAITING_BYTES_MAX },
    });
  }

  #gone(what: string): FailureMessage {
    return {
      code: 'STORE_UNREACHABLE',
      failure: { what, where: this.#where, mend: 'open the ledger again' },
    };
  }
}
