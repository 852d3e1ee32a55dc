import { errorText, TallyError } from '../../../core/errors.ts';
import type { AppendTexts } from '../../../ports/append.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Appended } from '../../../ports/events.ts';
import { errorFrom, type FailureMessage } from '../failures.ts';
import { StoreThread } from '../thread.ts';
import type { EngineSetup } from './engine.ts';
import type { Answer, Flush } from './messages.ts';

/** Appends that may wait; beyond it callers are sent back instead of filling the memory. */
const WAITING_MAX = 100_000;
const WAITING_BYTES_MAX: number = 256 * 1024 * 1024;
/** One flush takes this much at most, so that nobody waits for a transaction without end. */
const FLUSH_REQUESTS_MAX = 4_096;
const FLUSH_BYTES_MAX = 16 * 1024 * 1024;

// The sources are run as they are, the build is JavaScript: the worker is what this file is.
const program = import.meta.url.endsWith('.ts')
  ? new URL('./worker.ts', import.meta.url)
  : new URL('./worker.js', import.meta.url);

interface Waiting {
  readonly texts: AppendTexts;
  readonly resolve: (appended: readonly Appended[]) => void;
  readonly reject: (error: TallyError) => void;
}

/**
 * The caller's side of appends: it gathers what waits into one message per flush. While a flush is under way later
 * callers queue, and the next one carries all of them: the slower the disk, the more appends share a commit.
 */
export class Appender {
  readonly #setup: EngineSetup;
  readonly #clock: Clock;
  readonly #onAppended: () => void;
  #thread: StoreThread<Flush, Answer> | undefined;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** What the message under way carries; undefined while none is. */
  #underWay: readonly Waiting[] | undefined;
  #isPlanned = false;
  #isClosed = false;
  #drained: (() => void) | undefined;

  constructor(setup: EngineSetup, clock: Clock, onAppended: () => void) {
    this.#setup = setup;
    this.#clock = clock;
    this.#onAppended = onAppended;
  }

  /** Appends; resolves when it is durable. */
  append(texts: AppendTexts): Promise<readonly Appended[]> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw this.#closed();
      const isCrowded = this.#waiting.length >= WAITING_MAX;
      if (isCrowded || this.#waitingBytes + texts.bytes > WAITING_BYTES_MAX) throw this.#crowded();
      this.#waitingBytes += texts.bytes;
      this.#waiting.push({ texts, resolve, reject });
      this.#plan();
    });
  }

  /** Lets what waits come to its end, then ends the thread. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#underWay !== undefined || this.#waiting.length > 0)
      await new Promise<void>((resolve) => (this.#drained = resolve));
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.close();
  }

  /** Sent when the callers that run now have all had their say: those who were answered together ask again together. */
  #plan(): void {
    if (this.#isPlanned || this.#underWay !== undefined) return;
    this.#isPlanned = true;
    process.nextTick(() => {
      this.#isPlanned = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#underWay !== undefined) return;
    const requests = this.#take();
    if (requests.length === 0) {
      this.#thread?.rest();
      this.#drained?.();
      return;
    }
    this.#underWay = requests;
    this.#open().ask({ requests: requests.map(({ texts }) => texts), nowMs: this.#clock.nowMs() });
  }

  #take(): readonly Waiting[] {
    let [count, bytes] = [0, 0];
    for (const { texts } of this.#waiting) {
      if (count >= FLUSH_REQUESTS_MAX || (count > 0 && bytes + texts.bytes > FLUSH_BYTES_MAX))
        break;
      count += 1;
      bytes += texts.bytes;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  #open(): StoreThread<Flush, Answer> {
    if (this.#thread !== undefined) return this.#thread;
    const thread = new StoreThread<Flush, Answer>(
      { name: 'tallystick-events', program, setup: this.#setup },
      {
        answer: (answer) => this.#hear(thread, answer),
        died: (cause) => this.#die(thread, cause),
      },
    );
    this.#thread = thread;
    return thread;
  }

  #hear(thread: StoreThread<Flush, Answer>, answer: Answer): void {
    if (answer.kind === 'refused') {
      if (this.#thread === thread) this.#thread = undefined;
      this.#settle(answer.reason);
      return;
    }
    this.#settle(answer.outcomes);
  }

  #settle(outcomes: Extract<Answer, { readonly kind: 'answered' }>['outcomes']): void {
    const underWay = this.#underWay ?? [];
    this.#underWay = undefined;
    for (const [index, { resolve, reject }] of underWay.entries()) {
      const outcome = 'code' in outcomes ? outcomes : outcomes[index];
      if (outcome === undefined) reject(errorFrom(this.#gone('an answer was left out')));
      else if ('code' in outcome) reject(errorFrom(outcome));
      else resolve(outcome);
    }
    if (!('code' in outcomes)) this.#onAppended();
    this.#plan();
  }

  /** What had been sent may be in the file or not; what still waits goes to a new thread. */
  #die(thread: StoreThread<Flush, Answer>, cause: unknown): void {
    if (this.#thread !== thread) return;
    this.#thread = undefined;
    if (this.#underWay === undefined) return;
    const why = cause === undefined ? 'ended' : `died: ${errorText(cause)}`;
    this.#settle({ ...this.#gone(`the thread of appends has ${why}`), code: 'COMMIT_UNKNOWN' });
  }

  #gone(what: string): FailureMessage {
    return {
      code: 'STORE_UNREACHABLE',
      failure: {
        what,
        where: this.#setup.file,
        mend: 'append the same events with the same ids again: if they are there, that answers with their place',
      },
    };
  }

  #closed(): TallyError {
    return new TallyError('STORE_CLOSED', {
      what: 'the event store was used after it was closed',
      where: this.#setup.file,
      mend: 'stop what uses the store before closing it',
    });
  }

  #crowded(): TallyError {
    return new TallyError('STORE_BUSY', {
      what: `${this.#waiting.length} appends already wait`,
      where: this.#setup.file,
      mend: 'let callers wait for their answers before they append again',
      details: { waitingMax: WAITING_MAX, waitingBytesMax: WAITING_BYTES_MAX },
    });
  }
}
