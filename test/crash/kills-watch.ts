import { systemClock } from '../../src/runtime/clock.ts';
import { redisRun } from './kills-redis.ts';
import { violate, type Counts } from './kills-writer.ts';
import type { Setup, TargetName } from './server-app.ts';
import { targetRows } from './server-oracle.ts';

const EVERY_MS = 300;

/** Looks at the targets all the while, with drivers of its own: no key may ever show an older value than it did. */
export class KillsWatch implements AsyncDisposable {
  readonly #setup: Setup;
  readonly #counts: Counts;
  readonly #stopping = new AbortController();
  readonly #seen = new Map<TargetName, Map<string, number>>();
  #redisRun: string | undefined;
  #done: Promise<void> = Promise.resolve();

  constructor(setup: Setup, counts: Counts) {
    this.#setup = setup;
    this.#counts = counts;
  }

  start(): void {
    this.#done = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      for (const target of this.#setup.targets) await this.#look(target).catch(() => undefined);
      await systemClock.sleep(EVERY_MS);
    }
  }

  async #look(target: TargetName): Promise<void> {
    const run = target === 'redis' ? await redisRun(this.#setup.redisUrl) : undefined;
    const rows = await targetRows(this.#setup, target, 'copies');
    if (target === 'redis') {
      // One that was killed may have lost what it had shown: what it shows now is the new beginning.
      if (run === undefined || (await redisRun(this.#setup.redisUrl)) !== run) return;
      if (run !== this.#redisRun) this.#seen.delete(target);
      this.#redisRun = run;
    }
    const seen = this.#seen.get(target) ?? new Map<string, number>();
    this.#seen.set(target, seen);
    for (const [key, { n }] of rows) {
      const before = seen.get(key) ?? 0;
      if (n < before)
        violate(this.#counts, 'movedBack', `${target}: ${key} went from ${before} to ${n}`);
      seen.set(key, n);
    }
    this.#counts.looks += 1;
  }
}
