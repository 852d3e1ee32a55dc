import { Worker } from 'node:worker_threads';

/** The options of Node that concern how modules are found; the others are not the thread's. */
const INHERITED = /^(--conditions|-C|--disable-warning|--no-warnings)(=|$)/;

/** Which program a thread runs, and with what. */
export interface ThreadProgram {
  readonly name: string;
  readonly program: URL;
  readonly setup: unknown;
}

/**
 * A worker thread, as a link that asks and is answered. It keeps the process alive only between a question and its
 * answer. It understands the request `close`: it then closes what it holds, and ends.
 */
export class StoreThread<Request, Answer> {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;

  constructor(
    { name, program, setup }: ThreadProgram,
    heard: { readonly answer: (answer: Answer) => void; readonly died: (cause: unknown) => void },
  ) {
    this.#worker = new Worker(program, {
      name,
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
  ask(request: Request | 'close'): void {
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
