import type { Clock } from '../../ports/clock.ts';
import {
  makeClient,
  makeCluster,
  type RedisAddress,
  type RedisClient,
  type RedisCluster,
  type RedisDriver,
} from './driver.ts';
import { closedStore, redisError, replyWord } from './errors.ts';

/** What a command is made of: its name, then its arguments. */
export type RedisArgument = string | Buffer;

/** A command for every master, or what says which each gets; undefined: none. */
export type EachArguments =
  readonly RedisArgument[] | ((node: string) => readonly RedisArgument[] | undefined);

export interface SendOptions {
  /** Texts in the reply come as Buffers, byte for byte. */
  readonly replies?: 'text' | 'bytes';
}

/**
 * One connection of the coordinator's own, to a server or a cluster. It is not the application's: a WATCH or a
 * blocking command there must not meet these commands, nor a large script stand before the application's.
 *
 * A command that was under way when the connection was lost is rejected (STORE_UNREACHABLE) and never sent a
 * second time: whether it was done is for the caller to find out.
 */
export interface RedisLink extends AsyncDisposable {
  readonly isCluster: boolean;
  /** Sends one command to the server that holds `key`. Throws what {@link redisError} says, STORE_CLOSED. */
  send(
    key: string | undefined,
    args: readonly RedisArgument[],
    options?: SendOptions,
  ): Promise<unknown>;
  /** Sends one command to each master, the one server or those of the cluster; one for each, or none, if it is a function. */
  sendEach(
    args: EachArguments,
  ): Promise<readonly { readonly node: string; readonly reply: unknown }[]>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** `$` (36) is the type of texts in RESP. */
const BYTES = { 36: Buffer } as const;
/** No reply at all for as long as this, with commands under way: the connection is dead, though open. */
const SILENCE_MAX_MS = 10_000;

export interface LinkOptions {
  readonly driver: RedisDriver;
  readonly address: RedisAddress;
  readonly clock: Clock;
  /** For messages, e.g. `store sessions`. */
  readonly where: string;
}

/** Connects. Throws STORE_UNREACHABLE, CONFIG_INVALID. */
export async function openLink(options: LinkOptions): Promise<RedisLink> {
  const { driver, address } = options;
  const link =
    address.kind === 'server'
      ? new ServerLink(
          options,
          address.url,
          makeClient(driver, address.url, { disableOfflineQueue: true }),
        )
      : new ClusterLink(options, address.urls, makeCluster(driver, address.urls));
  await link.connect();
  return link;
}

/**
 * Connects a client for the first time; the driver itself would try for ever. Throws STORE_UNREACHABLE,
 * CONFIG_INVALID.
 */
export async function connectFirst(
  client: RedisClient | RedisCluster,
  where: string,
): Promise<void> {
  const failure = Promise.withResolvers<never>();
  const fail = (error: unknown): void => failure.reject(error);
  client.on('error', fail);
  try {
    await Promise.race([client.connect(), failure.promise]);
  } catch (error) {
    destroy(client);
    throw redisError(error, where);
  } finally {
    client.off('error', fail);
  }
}

/** Ends a client at once; commands under way are rejected. Idempotent. */
export function destroy(client: { destroy(): void }): void {
  try {
    client.destroy();
  } catch {
    // The driver refuses to close what is closed.
  }
}

abstract class Link implements RedisLink {
  abstract readonly isCluster: boolean;
  readonly options: LinkOptions;
  #underWay = 0;
  #heard = 0;
  #open = true;
  #stopWatching: (() => void) | undefined;
  /** Why there is no connection at the moment, as the last try to make one was answered. */
  #offline: unknown;

  constructor(options: LinkOptions) {
    this.options = options;
  }

  abstract connect(): Promise<void>;
  protected abstract submit(
    key: string | undefined,
    args: readonly RedisArgument[],
    options: { readonly typeMapping?: typeof BYTES },
  ): Promise<unknown>;
  protected abstract submitEach(
    args: EachArguments,
  ): Promise<readonly { readonly node: string; readonly reply: unknown }[]>;
  /** Makes the driver connect again. */
  protected abstract drop(): void;
  protected abstract end(): void;

  async send(
    key: string | undefined,
    args: readonly RedisArgument[],
    options?: SendOptions,
  ): Promise<unknown> {
    const mapping = options?.replies === 'bytes' ? { typeMapping: BYTES } : {};
    return this.#watched(() => this.submit(key, args, mapping));
  }

  async sendEach(
    args: EachArguments,
  ): Promise<readonly { readonly node: string; readonly reply: unknown }[]> {
    return this.#watched(() => this.submitEach(args));
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#stopWatching?.();
    this.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #watched<Result>(run: () => Promise<Result>): Promise<Result> {
    if (!this.#open) throw closedStore(this.options.where);
    this.#underWay += 1;
    if (this.#stopWatching === undefined) this.#watch();
    try {
      return await run();
    } catch (error) {
      throw this.#open ? this.#named(error) : closedStore(this.options.where);
    } finally {
      this.#underWay -= 1;
      this.#heard += 1;
    }
  }

  /**
   * Remembers why a client cannot connect. The driver refuses commands meanwhile without a word about it: a password
   * that was changed would look like a server that is down.
   */
  protected noting(client: RedisClient): RedisClient {
    client.on('error', (error) => (this.#offline = error));
    client.on('ready', () => (this.#offline = undefined));
    return client;
  }

  #named(error: unknown): unknown {
    const isOffline = error instanceof Error && error.constructor.name === 'ClientOfflineError';
    const reason = isOffline ? this.#offline : undefined;
    return redisError(replyWord(reason) === undefined ? error : reason, this.options.where);
  }

  /** A peer that vanished without a word leaves an open connection on which nothing is ever answered. */
  #watch(): void {
    const round = this.#heard;
    this.#stopWatching = this.options.clock.after(SILENCE_MAX_MS, () => {
      this.#stopWatching = undefined;
      if (!this.#open || this.#underWay === 0) return;
      if (this.#heard === round) this.drop();
      else this.#watch();
    });
  }
}

class ServerLink extends Link {
  readonly isCluster = false;
  readonly #url: string;
  #client: RedisClient;

  constructor(options: LinkOptions, url: string, client: RedisClient) {
    super(options);
    this.#url = url;
    this.#client = this.noting(client);
  }

  connect(): Promise<void> {
    return connectFirst(this.#client, this.options.where);
  }

  protected submit(
    _key: string | undefined,
    args: readonly RedisArgument[],
    options: { readonly typeMapping?: typeof BYTES },
  ): Promise<unknown> {
    return this.#client.sendCommand(args, options);
  }

  protected async submitEach(
    args: EachArguments,
  ): Promise<readonly { readonly node: string; readonly reply: unknown }[]> {
    const node = 'server';
    const command = commandFor(args, node);
    return command === undefined ? [] : [{ node, reply: await this.#client.sendCommand(command) }];
  }

  protected drop(): void {
    destroy(this.#client);
    const { driver } = this.options;
    this.#client = this.noting(makeClient(driver, this.#url, { disableOfflineQueue: true }));
    // The driver goes on trying; commands are refused until it succeeds.
    void this.#client.connect().catch(() => undefined);
  }

  protected end(): void {
    destroy(this.#client);
  }
}

class ClusterLink extends Link {
  readonly isCluster = true;
  readonly #urls: readonly string[];
  #cluster: RedisCluster;

  constructor(options: LinkOptions, urls: readonly string[], cluster: RedisCluster) {
    super(options);
    this.#urls = urls;
    this.#cluster = cluster;
  }

  connect(): Promise<void> {
    return connectFirst(this.#cluster, this.options.where);
  }

  protected submit(
    key: string | undefined,
    args: readonly RedisArgument[],
    options: { readonly typeMapping?: typeof BYTES },
  ): Promise<unknown> {
    return this.#cluster.sendCommand(key, false, [...args], options);
  }

  protected async submitEach(
    args: EachArguments,
  ): Promise<readonly { readonly node: string; readonly reply: unknown }[]> {
    const replies = this.#cluster.masters.map(async (master) => {
      const command = commandFor(args, master.address);
      if (command === undefined) return [];
      const client = await this.#cluster.nodeClient(master);
      return [{ node: master.address, reply: await client.sendCommand(command) }];
    });
    return (await Promise.all(replies)).flat();
  }

  protected drop(): void {
    destroy(this.#cluster);
    this.#cluster = makeCluster(this.options.driver, this.#urls);
    void this.#cluster.connect().catch(() => undefined);
  }

  protected end(): void {
    destroy(this.#cluster);
  }
}

function commandFor(args: EachArguments, node: string): readonly RedisArgument[] | undefined {
  return typeof args === 'function' ? args(node) : args;
}
