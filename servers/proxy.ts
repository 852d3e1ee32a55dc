import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './place.ts';

/** A port between a client and a server, where the network can fail. */
export interface Proxy extends AsyncDisposable {
  readonly port: number;
  /** How many connections are open through it. */
  readonly connections: () => number;
  /** Resets all connections and refuses new ones, until `heal`. */
  readonly cut: () => Promise<void>;
  /**
   * Half-open: connections stay open, new ones are accepted, and nothing passes, not even the end of a connection, until `heal`
   * delivers all of it (as TCP does after a partition) or `cut` resets them.
   */
  readonly blackhole: () => void;
  /** Delivers everything this much later, in both directions. */
  readonly slow: (delayMs: number) => void;
  /** Everything passes at once again. */
  readonly heal: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Listens on a free port of 127.0.0.1 and passes what comes to `targetPort` there. */
export async function startProxy(targetPort: number): Promise<Proxy> {
  const proxy = new TcpProxy(await freePort(), targetPort);
  await proxy.heal();
  return proxy;
}

class TcpProxy implements Proxy {
  readonly port: number;
  readonly #targetPort: number;
  readonly #network = new Network();
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #server: Server | undefined;

  constructor(port: number, targetPort: number) {
    this.port = port;
    this.#targetPort = targetPort;
  }

  readonly connections = (): number => this.#pairs.size;

  readonly cut = async (): Promise<void> => {
    const server = this.#server;
    this.#server = undefined;
    const closed = server === undefined ? undefined : once(server, 'close');
    server?.close();
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
    this.#pairs.clear();
    await closed;
  };

  readonly blackhole = (): void => this.#network.hold();

  readonly slow = (delayMs: number): void => {
    this.#network.delayMs = delayMs;
  };

  readonly heal = async (): Promise<void> => {
    this.#network.delayMs = 0;
    this.#network.release();
    if (this.#server !== undefined) return;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#join(socket),
    );
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  };

  readonly stop = async (): Promise<void> => {
    await this.cut();
    this.#network.release();
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #join(client: Socket): void {
    const server = connect({
      port: this.#targetPort,
      host: '127.0.0.1',
      allowHalfOpen: true,
      noDelay: true,
    });
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    pass(client, server, this.#network);
    pass(server, client, this.#network);
    for (const socket of pair) {
      socket.on('close', () => {
        if (client.destroyed && server.destroyed) this.#pairs.delete(pair);
      });
    }
  }
}

/** Whether things pass now, and how much later they arrive. */
class Network {
  delayMs = 0;
  #held: PromiseWithResolvers<void> | undefined;

  hold(): void {
    this.#held ??= Promise.withResolvers<void>();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }

  async pass(sentAtMs: number): Promise<void> {
    const dueMs = sentAtMs + this.delayMs - Date.now();
    if (dueMs > 0) await sleep(dueMs);
    while (this.#held !== undefined) await this.#held.promise;
  }
}

/** Bytes that one direction may hold before the sender has to wait. */
const HELD_BYTES_MAX = 1_048_576;

type Deliver = () => unknown;

/** One direction: data, the end and a break arrive in the order in which they happened. */
function pass(from: Socket, to: Socket, network: Network): void {
  let heldBytes = 0;
  let last = Promise.resolve();
  const after = async (before: Promise<void>, deliver: Deliver): Promise<void> => {
    const sentAtMs = Date.now();
    await before;
    await network.pass(sentAtMs);
    await deliver();
  };
  const then = (deliver: Deliver): void => {
    last = after(last, deliver);
  };
  from.on('data', (chunk: Buffer) => {
    heldBytes += chunk.length;
    if (heldBytes > HELD_BYTES_MAX) from.pause();
    then(async () => {
      heldBytes -= chunk.length;
      if (from.isPaused() && heldBytes <= HELD_BYTES_MAX / 2) from.resume();
      if (to.destroyed || to.write(chunk)) return;
      await Promise.race([once(to, 'drain'), once(to, 'close')]).catch(() => undefined);
    });
  });
  from.on('end', () => then(() => to.end()));
  from.on('error', () => then(() => to.resetAndDestroy()));
  from.on('close', () => then(() => to.destroySoon()));
}
