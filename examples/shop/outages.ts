import { Random } from './random.ts';
import type { OwnServer } from './servers.ts';

/** Kills one server after the other with SIGKILL, and starts it again at once. */
export class Outages {
  readonly #servers: readonly OwnServer[];
  readonly #random: Random;
  readonly #kills: Record<string, number> = {};
  #waiting: NodeJS.Timeout | undefined;
  #present: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(servers: readonly OwnServer[], seed: number) {
    this.#servers = servers;
    this.#random = new Random(seed);
  }

  /** How often each was killed. */
  get kills(): Readonly<Record<string, number>> {
    return { ...this.#kills };
  }

  /** From now on kills the next server at a random moment, on average `everyMs` after the last one was back. */
  killEvery(everyMs: number, turn = 0): void {
    const server = this.#servers[turn % this.#servers.length];
    if (server === undefined || this.#isOver) return;
    this.#waiting = setTimeout(
      () => {
        this.#present = this.#killOnce(server).then(() => this.killEvery(everyMs, turn + 1));
        // Whoever waits for the end is told.
        this.#present.catch(() => undefined);
      },
      everyMs * (0.5 + this.#random.next()),
    );
  }

  async #killOnce({ name, kill, restart }: OwnServer): Promise<void> {
    await kill();
    this.#kills[name] = (this.#kills[name] ?? 0) + 1;
    await restart();
  }

  /** Kills no more. Resolves when all servers are up again; rejects if one did not come back. */
  async over(): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#waiting);
    await this.#present;
  }
}
