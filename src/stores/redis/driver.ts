import type {
  createClient,
  createCluster,
  RedisClientOptions,
  RedisClientType,
  RedisClusterType,
} from 'redis';
import { TallyError } from '../../core/errors.ts';

// The only place that imports the driver. Its types are named, since `store.client` is the driver's own object
// with all that it offers; nothing of it is loaded before a store is opened.

/** The driver's client of one server. */
export type RedisClient = RedisClientType;
/** The driver's client of a cluster. */
export type RedisCluster = RedisClusterType;

/** The module itself. */
export interface RedisDriver {
  readonly createClient: typeof createClient;
  readonly createCluster: typeof createCluster;
}

/** What a connection is made of: one server, or the addresses that a cluster is found by. */
export type RedisAddress =
  | { readonly kind: 'server'; readonly url: string }
  | { readonly kind: 'cluster'; readonly urls: readonly string[] };

/** Loads the driver, which is an optional peer dependency. Throws DRIVER_MISSING. */
export async function loadDriver(
  load: () => Promise<unknown> = () => import('redis'),
): Promise<RedisDriver> {
  try {
    return (await load()) as RedisDriver;
  } catch (cause) {
    throw new TallyError('DRIVER_MISSING', {
      what: 'the driver of Redis cannot be loaded',
      where: 'redis',
      mend: 'run `npm install redis`',
      details: { package: 'redis' },
      cause,
    });
  }
}

/** How long a connection may take to be made, and between two tries at most. */
const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_MAX_MS = 1_000;

/** A client of one server that is not connected yet. */
export function makeClient(
  driver: RedisDriver,
  url: string,
  options: RedisClientOptions = {},
): RedisClient {
  const client = driver.createClient({
    ...options,
    url,
    RESP: 3,
    socket: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      reconnectStrategy: (retries: number) =>
        Math.min(20 * 2 ** Math.min(retries, 10), RECONNECT_MAX_MS),
    },
  });
  // Without a listener a lost connection would end the process; each command that it cost is rejected anyway.
  client.on('error', () => undefined);
  return client;
}

/** A client of a cluster that is not connected yet. */
export function makeCluster(driver: RedisDriver, urls: readonly string[]): RedisCluster {
  const cluster = driver.createCluster({
    rootNodes: urls.map((url) => ({ url })),
    RESP: 3,
    defaults: { socket: { connectTimeout: CONNECT_TIMEOUT_MS } },
  });
  cluster.on('error', () => undefined);
  return cluster;
}
