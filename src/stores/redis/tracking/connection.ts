import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import { makeClient, type RedisClient, type RedisDriver } from '../driver.ts';
import { redisError } from '../errors.ts';
import { connectFirst, destroy, type RedisArgument } from '../link.ts';

/** How often a connection on which nothing comes is asked whether it is alive. */
const PING_EVERY_MS = 1_000;
/** A server that has not answered by then is not reached by this connection any more. */
const ANSWER_MAX_MS = 2_000;

export interface ConnectionOptions {
  readonly driver: RedisDriver;
  readonly url: string;
  readonly clock: Clock;
  readonly where: string;
  /** Keys that begin with one of these are told of, whoever reads them; not given: those read on this connection. */
  readonly prefixes: readonly string[] | undefined;
  /** A key that changed; undefined: the database was emptied. */
  readonly onInvalid: (key: string | undefined) => void;
  /** Once, when the connection was lost; nothing is told after that. */
  readonly onLost: (error: unknown) => void;
}

/** One connection that one server tells of changed keys. It does not come back once it is lost. */
export class TrackingConnection {
  readonly #options: ConnectionOptions;
  readonly #client: RedisClient;
  #cancel = (): void => undefined;
  #open = true;

  private constructor(options: ConnectionOptions, client: RedisClient) {
    this.#options = options;
    this.#client = client;
  }

  /** Connects and turns tracking on: from then on changes are told. Throws STORE_UNREACHABLE, CONFIG_INVALID. */
  static async open(options: ConnectionOptions): Promise<TrackingConnection> {
    const { driver, url, where, prefixes } = options;
    // The driver turns tracking on as part of connecting, and says what it is told.
    const client = makeClient(driver, url, { emitInvalidate: true, disableOfflineQueue: true });
    const connection = new TrackingConnection(options, client);
    client.on('invalidate', (key: Buffer | string | null) => {
      if (connection.#open) options.onInvalid(key === null ? undefined : key.toString());
    });
    await connectFirst(client, where);
    try {
      // Not the driver's own reconnecting: what changed meanwhile would have been told to nobody.
      client.on('error', (error: unknown) => connection.#lost(error));
      client.on('end', () => connection.#lost(undefined));
      if (prefixes !== undefined)
        await Promise.all([
          client.sendCommand(['CLIENT', 'TRACKING', 'OFF']),
          client.sendCommand([
            'CLIENT',
            'TRACKING',
            'ON',
            'BCAST',
            ...prefixes.flatMap((prefix) => ['PREFIX', prefix]),
          ]),
        ]);
    } catch (error) {
      connection.close();
      throw redisError(error, where);
    }
    connection.#schedulePing();
    return connection;
  }

  async send(args: readonly RedisArgument[]): Promise<unknown> {
    try {
      return await this.#client.sendCommand(args);
    } catch (error) {
      throw redisError(error, this.#options.where);
    }
  }

  close(): void {
    this.#open = false;
    this.#cancel();
    destroy(this.#client);
  }

  #lost(error: unknown): void {
    if (!this.#open) return;
    this.close();
    this.#options.onLost(error);
  }

  #schedulePing(): void {
    if (!this.#open) return;
    const { clock, where } = this.#options;
    this.#cancel = clock.after(PING_EVERY_MS, () => {
      this.#cancel = clock.after(ANSWER_MAX_MS, () =>
        this.#lost(new TallyError('STORE_UNREACHABLE', { what: 'Redis does not answer', where })),
      );
      void this.#ping();
    });
  }

  async #ping(): Promise<void> {
    try {
      await this.#client.sendCommand(['PING']);
      this.#cancel();
      this.#schedulePing();
    } catch (error) {
      this.#lost(error);
    }
  }
}
