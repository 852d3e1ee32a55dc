import { makeClient, type RedisClient } from '../driver.ts';
import { connectFirst, destroy } from '../link.ts';
import type { RedisParts } from '../parts.ts';

/** Between two tries to connect: doubled from the first up to the last. */
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 500;

export interface PresenceOptions {
  readonly parts: RedisParts;
  readonly url: string;
  readonly channel: string;
  /** Before it is listened: which run of the server this is. */
  readonly claim: (runId: string) => Promise<void>;
  readonly onMessage: (text: string) => void;
  /** Nothing is heard from now on; messages may be missed until it listens again. */
  readonly onLost: () => void;
}

interface Listening {
  readonly over: Promise<void>;
}

/**
 * A connection that listens on a channel of its own for as long as the process lives. Others count the listeners: the kernel
 * closes the connection of a process that was killed, while one that is only busy keeps it. It hears on the same channel
 * that a lease it waits for is over.
 */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #closing: AbortController = new AbortController();
  #client: RedisClient | undefined;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** Resolves once it listens. Throws STORE_UNREACHABLE. */
  static async open(options: PresenceOptions): Promise<Presence> {
    const presence = new Presence(options);
    presence.#running = presence.#run(await presence.#listen());
    return presence;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#client !== undefined) destroy(this.#client);
    await this.#running;
  }

  async #run(first: Listening): Promise<void> {
    const { clock } = this.#options.parts;
    const { signal } = this.#closing;
    let listening = first;
    let waitMs = RETRY_FIRST_MS;
    for (;;) {
      await listening.over;
      if (signal.aborted) return;
      this.#options.onLost();
      for (;;) {
        try {
          listening = await this.#listen();
          waitMs = RETRY_FIRST_MS;
          break;
        } catch {
          await clock.sleep(waitMs, signal).catch(() => undefined);
          if (signal.aborted) return;
          waitMs = Math.min(2 * waitMs, RETRY_MAX_MS);
        }
      }
    }
  }

  /** Connects and listens; answers when that is over. Never the driver's own reconnecting: it would listen before it has looked. */
  async #listen(): Promise<Listening> {
    const { parts, url, channel, claim, onMessage } = this.#options;
    const client = makeClient(parts.driver, url, { disableOfflineQueue: true });
    await connectFirst(client, parts.where);
    this.#client = client;
    const over = Promise.withResolvers<void>();
    const end = (): void => {
      destroy(client);
      over.resolve();
    };
    client.on('error', end);
    client.on('end', end);
    try {
      if (this.#closing.signal.aborted) throw new Error('closed');
      const info = (await client.sendCommand(['INFO', 'server'])) as string;
      await claim(/^run_id:(\w+)/m.exec(info)?.[1] ?? '');
      await client.subscribe(channel, (message) => onMessage(message));
    } catch (error) {
      end();
      throw error;
    }
    return { over: over.promise };
  }
}
