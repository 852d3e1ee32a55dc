import { Worker } from 'node:worker_threads';
import type { Answer, Request, WorkerSetup } from './messages.ts';

/** The options of Node that concern how modules are found; the others are not the thread's. */
const INHERITED = /^(--conditions|-C|--disable-warning|--no-warnings)(=|$)/;

/**
 * The ledger's worker thread, as a link that asks and is answered. It keeps the process alive only
 * between a question and its answer.
 */
export class LedgerThread {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;

  constructor(
    setup: WorkerSetup,
    heard: { readonly answer: (answer: Answer) => void; readonly died: (cause: unknown) => void },
  ) {
    // The sources are run as they are, the build is JavaScript: the worker is what this file is.
    const program = import.meta.url.endsWith('.ts')
      ? new URL('./worker.ts', import.meta.url)
      : new URL('./worker.js', import.meta.url);
    this.#worker = new Worker(program, {
      name: 'tallystick-ledger',
      workerData: setup,
      execArgv: inheritedArguments(process.execArgv),
    });
    this.#exited = new Promise((resolve) => {
      let cause: unknown;
      this.#worker.on('error', (error) => (cause = error));
      this.#worker.on('exit', () => {
        heard.died(cause);
        resolve();
      });
    });
    this.#worker.on('message', heard.answer);
  }

  /** Sends a request; the process then stays alive until {@link rest}. */
  ask(request: Request): void {
    this.#worker.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(request);
  }

  /** Nothing is under way: the process may end. */
  rest(): void {
    this.#worker.unref();
  }

  /** Ends the thread after it has closed the file. */
  async close(): Promise<void> {
    this.ask('close');
    await this.#exited;
  }
}

/**
 * What the thread takes over of the process's options. A worker refuses some options outright
 * (`--input-type`), and others (`--test`, `--watch`, `--eval`) would start the wrong thing in it.
 */
export function inheritedArguments(execArgv: readonly string[]): string[] {
  const kept = ['--disable-warning=ExperimentalWarning'];
  for (let index = 0; index < execArgv.length; index++) {
    const argument = execArgv[index] ?? '';
    if (!INHERITED.test(argument)) continue;
    kept.push(argument);
    const value = execArgv[index + 1];
    if (!argument.includes('=') && argument !== '--no-warnings' && value !== undefined)
      kept.push(value);
  }
  return kept;
}
