import { isTallyError, TallyError } from '../../core/errors.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import { closedError, unreachableError } from './errors.ts';
import { Connection, type Endpoint } from './wire/connection.ts';
import type { MetaReply } from './wire/reply.ts';
import type { MetaRequest } from './wire/request.ts';

/** One life of a server process: what it stores, and how its versions are counted, ends with it. */
export interface ServerLife {
  /** Seconds since 1970 at which it began, by its own clock. */
  readonly startedAtS: number;
  readonly version: string;
  readonly itemBytesMax: number;
  /** What its clock is ahead of ours, in whole seconds as it counts them. */
  readonly aheadS: number;
}

export interface LinkOptions {
  readonly endpoint: Endpoint;
  /** Given if the server asks for them. */
  readonly credentials: { readonly user: string; readonly password: string } | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /** For messages, e.g. `store sessions`. */
  readonly where: string;
  readonly timeoutMs: number;
}

/**
 * A connection that is made anew when it is lost, beginning at once and then ever more slowly. While there is none, whatever is
 * sent is rejected at once (STORE_UNREACHABLE): a cache that makes its callers wait for a cache is slower than none.
 */
export interface MemcachedLink extends AsyncDisposable {
  /** Sends one command. `EX`, `NS` and such are answers; what cannot be done throws. */
  send(request: MetaRequest): Promise<MetaReply>;
  /** Sends commands in one write, and resolves with all their answers. */
  sendMany(requests: readonly MetaRequest[]): Promise<readonly MetaReply[]>;
  /** Sends a classic command on the same connection; see {@link Connection.command}. */
  command(text: string, onLine?: (line: string) => void): Promise<string>;
  /** The life of the server that the next command of this turn goes to, or the last one went to. */
  readonly life: ServerLife;
  /** Grows each time a connection was lost: what was invalidated meanwhile may not have arrived. */
  readonly losses: number;
  /** A connection of its own, for what would hold up the others. Whoever opens it ends it. */
  connect(): Promise<Connection>;
  /** Idempotent. */
  close(): Promise<void>;
}

const RECONNECT_FIRST_MS = 20;
const RECONNECT_MAX_MS = 1_000;

/** Connects. Throws STORE_UNREACHABLE, CONFIG_INVALID, CAPABILITY_MISSING. */
export async function openLink(options: LinkOptions): Promise<MemcachedLink> {
  const link = new Link(options);
  await link.start();
  return link;
}

class Link implements MemcachedLink {
  readonly #options: LinkOptions;
  #connection: Connection | undefined;
  #life: ServerLife | undefined;
  #losses = 0;
  #isOpen = true;
  #cancelRetry: (() => void) | undefined;
  /** Why there is no connection. */
  #reason: TallyError;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#reason = unreachableError('not connected yet', options.where);
  }

  get life(): ServerLife {
    if (this.#life === undefined) throw this.#reason;
    return this.#life;
  }

  get losses(): number {
    return this.#losses;
  }

  async start(): Promise<void> {
    const { connection, life } = await this.#connected((error) => this.#lost(error));
    if (connection.ended !== undefined) throw connection.ended;
    this.#life = life;
    this.#connection = connection;
  }

  async send(request: MetaRequest): Promise<MetaReply> {
    return this.#present().send(request);
  }

  async sendMany(requests: readonly MetaRequest[]): Promise<readonly MetaReply[]> {
    return this.#present().sendMany(requests);
  }

  async command(text: string, onLine?: (line: string) => void): Promise<string> {
    return this.#present().command(text, onLine);
  }

  async connect(): Promise<Connection> {
    if (!this.#isOpen) throw closedError(this.#options.where);
    return (await this.#connected(() => undefined)).connection;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.#cancelRetry?.();
    this.#connection?.destroy(closedError(this.#options.where));
    this.#connection = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #present(): Connection {
    if (!this.#isOpen) throw closedError(this.#options.where);
    if (this.#connection === undefined) throw this.#reason;
    return this.#connection;
  }

  #lost(error: TallyError): void {
    if (this.#connection === undefined) return;
    this.#connection = undefined;
    this.#losses += 1;
    this.#reason = isTallyError(error, 'STORE_UNREACHABLE')
      ? error
      : unreachableError('the connection was given up', this.#options.where, error);
    if (this.#isOpen) void this.#reconnect(0);
  }

  /** Never rejects. */
  async #reconnect(tried: number): Promise<void> {
    try {
      await this.start();
      if (!this.#isOpen) await this.close();
    } catch (error) {
      if (!this.#isOpen) return;
      if (isTallyError(error)) this.#reason = error;
      const delayMs = Math.min(RECONNECT_FIRST_MS * 2 ** Math.min(tried, 10), RECONNECT_MAX_MS);
      // Half of it by chance: the processes that a restart cut off do not come back in one moment.
      const jitteredMs = delayMs * (0.5 + this.#options.random.next() / 2);
      this.#cancelRetry = this.#options.clock.after(
        jitteredMs,
        () => void this.#reconnect(tried + 1),
      );
    }
  }

  async #connected(
    onEnd: (error: TallyError) => void,
  ): Promise<{ readonly connection: Connection; readonly life: ServerLife }> {
    const connection = await Connection.open(this.#options, onEnd);
    try {
      await this.#authenticate(connection);
      return { connection, life: await readLife(connection, this.#options) };
    } catch (error) {
      connection.destroy(
        isTallyError(error) ? error : unreachableError(String(error), this.#options.where),
      );
      throw error;
    }
  }

  /**
   * The authentication of the text protocol (`-Y`): the first `set` is compared, and stored nowhere. A server
   * that asks for none would store it: hence a time to live that is over.
   */
  async #authenticate(connection: Connection): Promise<void> {
    const { credentials, where } = this.#options;
    if (credentials === undefined) return;
    const text = `${credentials.user} ${credentials.password}`;
    try {
      await connection.command(`set auth 0 -1 ${Buffer.byteLength(text)}\r\n${text}`);
    } catch (cause) {
      if (!isTallyError(cause, 'CONFIG_INVALID')) throw cause;
      throw new TallyError('STORE_UNREACHABLE', {
        what: 'Memcached refuses the user or the password',
        where,
        mend: 'check the url; if the password was changed, open the store with the new one',
        cause,
      });
    }
  }
}

/** What `stats` and its like say, by name. */
export async function readStats(
  ask: Pick<Connection, 'command'>,
  name?: string,
): Promise<ReadonlyMap<string, string>> {
  const stats = new Map<string, string>();
  await ask.command(name === undefined ? 'stats' : `stats ${name}`, (line) => {
    const [, key, value] = /^STAT (\S+) (.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) stats.set(key, value);
  });
  return stats;
}

async function readLife(
  connection: Connection,
  { clock, where }: LinkOptions,
): Promise<ServerLife> {
  const stats = await readStats(connection);
  const settings = await readStats(connection, 'settings');
  if (settings.get('cas_enabled') === 'no')
    throw new TallyError('CONFIG_INVALID', {
      what: 'this Memcached keeps no versions (-C)',
      where,
      mend: 'start it without -C: what an entry is changed or invalidated by is its version',
    });
  const timeS = Number(stats.get('time'));
  const aheadS = timeS - Math.floor(clock.nowMs() / 1_000);
  const startedAtS = timeS - Number(stats.get('uptime'));
  const itemBytesMax = Number(settings.get('item_size_max'));
  if (!Number.isSafeInteger(startedAtS) || !Number.isSafeInteger(itemBytesMax))
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'the server does not say when it began, or how large an item may be',
      where,
      mend: 'give the address of a Memcached itself: a proxy before it answers `stats` with its own',
    });
  return { startedAtS, itemBytesMax, aheadS, version: stats.get('version') ?? 'unknown' };
}
