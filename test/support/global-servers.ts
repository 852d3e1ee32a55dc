import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import {
  type PostgresServer,
  type PostgresVersion,
  type RedisFlavour,
  type RedisServer,
  ServerUnavailable,
  startMemcached,
  startPostgres,
  startRedis,
} from '../../servers/index.ts';
import type { SharedServer, SharedServers } from './servers.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where test/support/servers.ts asks for the servers of this run. */
    readonly serversPort: number;
  }
}

type Stop = () => Promise<void>;

/**
 * Servers that the tests of one run share. They start when the first test file asks (by importing test/support/servers.ts), so a
 * run without such files starts none; they are stopped at the end of the run, and if it is killed, with it.
 */
export default async function setup(project: TestProject): Promise<Stop> {
  const stops: Stop[] = [];
  let starting: Promise<SharedServers> | undefined;
  const server = createServer((_request, response) => {
    starting ??= startAll(stops);
    void starting.then((servers) => answer(response, servers));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  project.provide('serversPort', (server.address() as AddressInfo).port);
  return async () => {
    server.close();
    server.closeAllConnections();
    await starting;
    await Promise.all(stops.map((stop) => stop()));
  };
}

function answer(response: ServerResponse, servers: SharedServers): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(servers));
}

async function startAll(stops: Stop[]): Promise<SharedServers> {
  const [postgres, redis, memcached] = await Promise.all([
    shared('PostgreSQL', process.env['TALLY_POSTGRES_URL'], startWantedPostgres, stops),
    shared('Redis', process.env['TALLY_REDIS_URL'], startWantedRedis, stops),
    shared('Memcached', process.env['TALLY_MEMCACHED_URL'], startMemcached, stops),
  ]);
  return { postgres, redis, memcached };
}

const versions: readonly PostgresVersion[] = ['15', '16', '17', '18'];

/** The PostgreSQL that is found first, or that of TALLY_POSTGRES_VERSION. */
async function startWantedPostgres(): Promise<PostgresServer> {
  const version = chosen('TALLY_POSTGRES_VERSION', versions);
  return startPostgres(version === undefined ? {} : { version });
}

const flavours: readonly RedisFlavour[] = ['redis8', 'valkey'];

/** The Redis or Valkey that is found first, or that of TALLY_REDIS_FLAVOUR. */
async function startWantedRedis(): Promise<RedisServer> {
  const flavour = chosen('TALLY_REDIS_FLAVOUR', flavours);
  return startRedis(flavour === undefined ? {} : { flavour });
}

function chosen<Choice extends string>(
  variable: string,
  choices: readonly Choice[],
): Choice | undefined {
  const wanted = process.env[variable] ?? '';
  const choice = choices.find((each) => each === wanted);
  if (wanted !== '' && choice === undefined) {
    throw new Error(`${variable} is '${wanted}'; it takes ${choices.join(', ')}`);
  }
  return choice;
}

async function shared(
  name: string,
  given: string | undefined,
  start: () => Promise<{ readonly url: string; readonly stop: Stop }>,
  stops: Stop[],
): Promise<SharedServer> {
  if (given !== undefined && given !== '') return { url: given, owner: 'environment' };
  try {
    const server = await start();
    stops.push(server.stop);
    return { url: server.url, owner: 'run' };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof ServerUnavailable && process.env['TALLY_REQUIRE_SERVERS'] !== '1') {
      process.stderr.write(`${name}: not available (${why}); its tests are skipped\n`);
      return { unavailable: why, required: false };
    }
    return { unavailable: why, required: true };
  }
}
