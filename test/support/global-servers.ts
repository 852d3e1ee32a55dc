import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import {
  type PostgresServer,
  type PostgresVersion,
  ServerUnavailable,
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
  const [postgres, redis] = await Promise.all([
    shared('PostgreSQL', process.env['TALLY_POSTGRES_URL'], startWantedPostgres, stops),
    shared('Redis', process.env['TALLY_REDIS_URL'], startRedis, stops),
  ]);
  return { postgres, redis };
}

const versions: readonly PostgresVersion[] = ['15', '16', '17', '18'];

/** The PostgreSQL that is found first, or that of TALLY_POSTGRES_VERSION. */
function startWantedPostgres(): Promise<PostgresServer> {
  const wanted = process.env['TALLY_POSTGRES_VERSION'] ?? '';
  const version = versions.find((each) => each === wanted);
  if (wanted !== '' && version === undefined) {
    throw new Error(`TALLY_POSTGRES_VERSION is '${wanted}'; it takes ${versions.join(', ')}`);
  }
  return startPostgres(version === undefined ? {} : { version });
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
