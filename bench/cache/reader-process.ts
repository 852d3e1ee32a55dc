import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface ReaderOptions {
  readonly url: string;
  readonly prefix: string;
  /** How long a load takes. */
  readonly loadMs: number;
  /** How many read at the same time. */
  readonly readers: number;
}

/** How long each reader waited, and how many got an error. */
interface ReaderAnswer {
  readonly waitedMs: readonly number[];
  readonly errors: number;
}

export type ReaderMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'loading' }
  | ({ readonly kind: 'read' } & ReaderAnswer);

/** A process whose readers all want the same key. */
export class ReaderProcess implements AsyncDisposable {
  /** When its loads began, by the clock of this process. */
  readonly loadedAtMs: number[] = [];
  readonly #child: ChildProcess;
  readonly #loading = Promise.withResolvers<void>();
  readonly #answer = Promise.withResolvers<ReaderAnswer>();

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#answer.promise.catch(() => undefined);
    child.on('message', (message: ReaderMessage) => {
      if (message.kind === 'read') this.#answer.resolve(message);
      if (message.kind !== 'loading') return;
      this.loadedAtMs.push(performance.now());
      this.#loading.resolve();
    });
    child.on('exit', () => this.#answer.reject(new Error('the reader has ended')));
  }

  static async start(options: ReaderOptions): Promise<ReaderProcess> {
    const child = fork(join(import.meta.dirname, 'reader-worker.ts'), [JSON.stringify(options)]);
    const reader = new ReaderProcess(child);
    await once(child, 'message');
    return reader;
  }

  /** Resolves when it loads for the first time. */
  get loading(): Promise<void> {
    return this.#loading.promise;
  }

  read(): Promise<ReaderAnswer> {
    this.#child.send('read');
    return this.#answer.promise;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.kill();
    await once(this.#child, 'exit');
  }
}
