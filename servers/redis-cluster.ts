import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './place.ts';
import { type RedisOptions, type RedisServer, startRedis } from './redis.ts';

export interface RedisCluster extends AsyncDisposable {
  /** Of every node; a driver finds the others through any of them. */
  readonly urls: readonly string[];
  /** The masters, each with about as many slots as the others. */
  readonly nodes: readonly RedisServer[];
  /** Stops all nodes and removes their data. */
  readonly stop: () => Promise<void>;
}

const SLOTS = 16_384;
const READY_MS = 30_000;

/** Starts a cluster of masters without replicas, three unless told otherwise, and waits until it serves all slots. */
export async function startRedisCluster(
  options: Omit<RedisOptions, 'port' | 'dir'> & { readonly masters?: number } = {},
): Promise<RedisCluster> {
  const { masters = 3, ...rest } = options;
  await using nodes = new AsyncDisposableStack();
  const started: { server: RedisServer; bus: number }[] = [];
  for (let number = 0; number < masters; number += 1) {
    const bus = await freePort();
    const settings = {
      'cluster-enabled': 'yes',
      'cluster-port': String(bus),
      'cluster-node-timeout': '2000',
      ...rest.settings,
    };
    started.push({ server: nodes.use(await startRedis({ ...rest, settings })), bus });
  }
  const [first] = started;
  if (first === undefined) throw new Error('a cluster has at least one master');
  for (const [number, { server, bus }] of started.entries()) {
    const [from, to] = [number, number + 1].map((each) => Math.floor((each * SLOTS) / masters));
    await ask(server.port, `CLUSTER ADDSLOTSRANGE ${from} ${Number(to) - 1}`);
    // Two masters that agree on an epoch of the configuration would have to quarrel first.
    await ask(server.port, `CLUSTER SET-CONFIG-EPOCH ${number + 1}`);
    if (server !== first.server)
      await ask(first.server.port, `CLUSTER MEET 127.0.0.1 ${server.port} ${bus}`);
  }
  await ready(started.map(({ server }) => server.port));
  const running = nodes.move();
  const stop = (): Promise<void> => running.disposeAsync();
  return {
    urls: started.map(({ server }) => server.url),
    nodes: started.map(({ server }) => server),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Waits until each node knows all the others and finds every slot served. */
async function ready(ports: readonly number[]): Promise<void> {
  const deadline = Date.now() + READY_MS;
  const wanted = ['cluster_state:ok', `cluster_known_nodes:${ports.length}`];
  for (;;) {
    const infos = await Promise.all(ports.map((port) => ask(port, 'CLUSTER INFO')));
    if (infos.every((info) => wanted.every((line) => info.includes(`${line}\r\n`)))) return;
    if (Date.now() > deadline) throw new Error(`the cluster does not form:\n${infos.join('\n')}`);
    await sleep(20);
  }
}

/** The answer to a command in one line. */
function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`));
    let answer = '';
    socket.setEncoding('utf8').setTimeout(5_000, () => socket.destroy(new Error('no answer')));
    socket.on('data', (text: string) => {
      answer += text;
      const length = /^\$(\d+)\r\n/.exec(answer);
      const whole = length === null ? 0 : length[0].length + Number(length[1]) + 2;
      if (!answer.endsWith('\r\n') || answer.length < whole) return;
      socket.destroy();
      if (answer.startsWith('-')) reject(new Error(`${command}: ${answer.trim()}`));
      else resolve(answer);
    });
    socket.on('error', reject);
  });
}
