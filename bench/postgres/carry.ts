import { child, type Child } from '../flow/process.ts';
import type { WorkerAnswer, WorkerReached, WorkerRequest, WorkerSettings } from './messages.ts';
import type { Spread } from './spread.ts';
import type { Usage } from './usage.ts';

/** The flags of Node with which `tally up` starts. */
export const UP_FLAGS: readonly string[] = ['--max-semi-space-size=4'];

/** What carrying some rows came to. */
export interface Carried {
  readonly rows: number;
  readonly rowsPerSecond: number;
  readonly usage: Usage;
}

/** A process that carries; it is ended with the scope. */
export class CarryingProcess implements AsyncDisposable {
  readonly #child: Child<WorkerRequest, WorkerAnswer>;
  readonly startedAtMs: number;

  private constructor(worker: Child<WorkerRequest, WorkerAnswer>, startedAtMs: number) {
    this.#child = worker;
    this.startedAtMs = startedAtMs;
  }

  static async start(
    settings: WorkerSettings,
    flags: readonly string[] = UP_FLAGS,
  ): Promise<CarryingProcess> {
    const worker: Child<WorkerRequest, WorkerAnswer> = child(
      '../postgres/worker.ts',
      settings,
      flags,
    );
    const answer = await worker.next();
    if (answer.kind !== 'open') throw new Error(`unexpected answer ${answer.kind}`);
    return new CarryingProcess(worker, answer.startedAtMs);
  }

  async reach(offset: number): Promise<WorkerReached> {
    return await this.#ask({ kind: 'reach', offset }, 'reached');
  }

  async usage(): Promise<Usage> {
    return (await this.#ask({ kind: 'usage' }, 'used')).usage;
  }

  async lag(): Promise<Spread> {
    return (await this.#ask({ kind: 'lag' }, 'lag')).lagMs;
  }

  async backfill(): Promise<{ readonly rows: number; readonly milliseconds: number }> {
    return await this.#ask({ kind: 'backfill' }, 'filled');
  }

  async close(): Promise<void> {
    await this.#child.end({ kind: 'close' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }

  async #ask<Kind extends WorkerAnswer['kind']>(
    request: WorkerRequest,
    kind: Kind,
  ): Promise<Extract<WorkerAnswer, { readonly kind: Kind }>> {
    const answer = await this.#child.ask(request);
    if (answer.kind !== kind) throw new Error(`unexpected answer ${answer.kind}`);
    return answer as Extract<WorkerAnswer, { readonly kind: Kind }>;
  }
}

/** Lets a process come up, do its part up to an offset, and go. */
export async function once(settings: WorkerSettings, offset: number): Promise<void> {
  await using worker = await CarryingProcess.start(settings);
  await worker.reach(offset);
  await worker.close();
}

/** Rows that wait: from asking for them to the last one. */
export async function drain(
  settings: WorkerSettings,
  offset: number,
  rows: number,
  flags: readonly string[] = UP_FLAGS,
): Promise<Carried> {
  await using worker = await CarryingProcess.start(settings, flags);
  // A flow begins by itself, what only captures begins when it is asked.
  const isFlow = settings.kind !== 'stream' && settings.kind !== 'capture';
  const startedAtMs = isFlow ? worker.startedAtMs : Date.now();
  const reached = await worker.reach(offset);
  const usage = await worker.usage();
  await worker.close();
  if (reached.rows !== rows)
    throw new Error(`${reached.rows} of ${rows} rows went through ${settings.kind}`);
  return {
    rows,
    rowsPerSecond: Math.round((rows * 1_000) / (reached.atMs - startedAtMs)),
    usage,
  };
}
