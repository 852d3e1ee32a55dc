import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import {
  type PostgresServer,
  type PostgresVersion,
  type RedisFlavour,
  type RedisServer,
  ServerUnavailable,
  startKafka,
  startMemcached,
  startOpenSearch,
  startNeo,
  startPostgres,
  startRedis,
} from '../../servers/index.ts';
import type { SharedName, SharedServer } from './shared.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where test/support/shared.ts asks for the servers of this run. */
    readonly serversPort: number;
  }
}

type Stop = () => Promise<void>;

interface Kind {
  /** As its makers write it. */
  readonly name: string;
  /** Names a server that runs already. */
  readonly variable: string;
  readonly start: () => Promise<{ readonly url: string; readonly stop: Stop }>;
}

const kinds: Readonly<Record<SharedName, Kind>> = {
  postgres: { name: 'PostgreSQL', variable: 'TALLY_POSTGRES_URL', start: startWantedPostgres },
  redis: { name: 'Redis', variable: 'TALLY_REDIS_URL', start: startWantedRedis },
  memcached: { name: 'Memcached', variable: 'TALLY_MEMCACHED_URL', start: startMemcached },
  kafka: { name: 'Kafka', variable: 'TALLY_KAFKA_URL', start: startKafka },
  opensearch: { name: 'OpenSearch', variable: 'TALLY_OPENSEARCH_URL', start: startOpenSearch },
  neo4j: { name: 'Neo4j', variable: 'TALLY_NEO4J_URL', start: startNeo },
};

/**
 * Servers that the tests of one run share. Each starts when the first test file asks for it, so a run without such files starts
 * none; they are stopped at the end of the run, and if it is killed, with it.
 */
export default async function setup(project: TestProject): Promise<Stop> {
  const stops: Stop[] = [];
  const asked = new Map<string, Promise<SharedServer>>();
  const server = createServer((request, response) => {
    const name = (request.url ?? '').slice(1);
    const answer = asked.get(name) ?? shared(kinds[name as SharedName], stops);
    asked.set(name, answer);
    void reply(response, answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  project.provide('serversPort', (server.address() as AddressInfo).port);
  return async () => {
    server.close();
    server.closeAllConnections();
    await Promise.all(asked.values());
    await Promise.all(stops.map((stop) => stop()));
  };
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

async function reply(response: ServerResponse, answer: Promise<SharedServer>): Promise<void> {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(await answer));
}

async function shared({ name, variable, start }: Kind, stops: Stop[]): Promise<SharedServer> {
  const given = process.env[variable] ?? '';
  if (given !== '') return { url: given, owner: 'environment' };
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
