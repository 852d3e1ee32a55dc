import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { home, ServerUnavailable, unprivileged } from './place.ts';
import { findCassandra, startCassandra } from './cassandra.ts';
import { findDynamo, startDynamo } from './dynamodb.ts';
import { findInflux, startInflux } from './influxdb.ts';
import { findKafka, startKafka } from './kafka.ts';
import { findMaria, startMaria } from './mariadb.ts';
import { findMemcached, startMemcached } from './memcached.ts';
import { findNats, startNats } from './nats.ts';
import { findNeo, startNeo } from './neo4j.ts';
import { findOpenSearch, startOpenSearch } from './opensearch.ts';
import { findPostgres } from './postgres-binaries.ts';
import { startPostgres } from './postgres.ts';
import { isAlive, killTree, signalTo } from './process.ts';
import { findRedis } from './redis-binary.ts';
import { startRedis } from './redis.ts';

// npm run servers -- up|down|status|find [NAME...]
// Servers that stay until they are taken down, for working on an application. Tests start their own.

interface Running {
  readonly url: string;
  readonly pid: number;
  readonly port: number;
  readonly dir: string;
}

interface Kind {
  /** Names a server that runs already. */
  readonly variable: string;
  readonly start: () => Promise<Running>;
  readonly find: () => Promise<{ readonly version: string; readonly how: string }>;
  /** Only when it is named: it is fetched first, or takes much memory. */
  readonly heavy: boolean;
}

const life = 'outlives-us';

function named(
  variable: string,
  start: (options: { life: typeof life }) => Promise<Running>,
  look: Kind['find'],
): Kind {
  return { variable, start: () => start({ life }), find: look, heavy: true };
}

const kinds = {
  postgres: {
    variable: 'TALLY_POSTGRES_URL',
    start: () => startPostgres({ life, settings: { fsync: 'on' } }),
    find: async () => findPostgres(await unprivileged()),
    heavy: false,
  },
  redis: {
    variable: 'TALLY_REDIS_URL',
    start: () => startRedis({ life }),
    find: () => findRedis(),
    heavy: false,
  },
  memcached: {
    variable: 'TALLY_MEMCACHED_URL',
    start: () => startMemcached({ life }),
    find: findMemcached,
    heavy: false,
  },
  kafka: named('TALLY_KAFKA_URL', startKafka, findKafka),
  mariadb: named('TALLY_MARIADB_URL', startMaria, findMaria),
  nats: named('TALLY_NATS_URL', startNats, findNats),
  influxdb: named('TALLY_INFLUXDB_URL', startInflux, findInflux),
  opensearch: named('TALLY_OPENSEARCH_URL', startOpenSearch, findOpenSearch),
  neo4j: named('TALLY_NEO4J_URL', startNeo, findNeo),
  cassandra: named('TALLY_CASSANDRA_URL', startCassandra, findCassandra),
  dynamodb: named('TALLY_DYNAMODB_URL', startDynamo, findDynamo),
} satisfies Readonly<Record<string, Kind>>;

type Name = keyof typeof kinds;

const names = Object.keys(kinds) as readonly Name[];
const light = names.filter((name) => !kinds[name].heavy);

type Command = (name: Name) => Promise<void>;

const commands: Readonly<Record<string, Command>> = { up, down, status, find };

async function up(name: Name): Promise<void> {
  const given = givenBy(name);
  if (given !== undefined) {
    console.log(`# ${name}: ${kinds[name].variable} is set, nothing to start`);
    return;
  }
  const { url, pid, port, dir } = (await running(name)) ?? (await kinds[name].start());
  await mkdir(dirname(noteOf(name)), { recursive: true });
  await writeFile(noteOf(name), JSON.stringify({ url, pid, port, dir }));
  console.log(`export ${kinds[name].variable}=${url}`);
}

async function down(name: Name): Promise<void> {
  const found = await running(name);
  if (found === undefined) console.log(`${name} was not up`);
  else {
    signalTo(found.pid, name === 'postgres' ? 'SIGQUIT' : 'SIGTERM');
    for (let waited = 0; waited < 100 && (await isAlive(found.pid)); waited += 1) await sleep(50);
    if (await isAlive(found.pid)) await killTree(found.pid);
    await rm(dirname(found.dir), { recursive: true, force: true });
    console.log(`${name} is down, and its data are removed`);
  }
  await rm(noteOf(name), { force: true });
}

async function status(name: Name): Promise<void> {
  const found = await running(name);
  console.log(
    found === undefined
      ? `${name} is not up`
      : `${name} is up: ${found.url} (process ${found.pid}, data in ${found.dir})`,
  );
}

/** Says which server the tests would use. */
async function find(name: Name): Promise<void> {
  if (givenBy(name) !== undefined) {
    console.log(`${name}: ${kinds[name].variable} is set`);
    return;
  }
  const { version, how } = await kinds[name].find();
  console.log(`${name} ${version} (${how})`);
}

function givenBy(name: Name): string | undefined {
  const given = process.env[kinds[name].variable];
  return given === '' ? undefined : given;
}

function noteOf(name: Name): string {
  return join(home, 'up', `${name}.json`);
}

/** The server that `up` has started, if it still runs: its process id may have gone to another program meanwhile. */
async function running(name: Name): Promise<Running | undefined> {
  const note = await readFile(noteOf(name), 'utf8').catch(() => undefined);
  if (note === undefined) return undefined;
  const found = JSON.parse(note) as Running;
  if (!(await isAlive(found.pid))) return undefined;
  const { stdout } = await promisify(execFile)('ps', ['-o', 'command=', '-p', String(found.pid)]);
  const isOurs = stdout.includes(dirname(found.dir)) || stdout.includes(`:${found.port}`);
  return isOurs ? found : undefined;
}

function isName(text: string): text is Name {
  return names.some((name) => name === text);
}

async function main([verb = '', ...rest]: readonly string[]): Promise<number> {
  const command = commands[verb];
  const unknown = rest.find((text) => !isName(text));
  if (command === undefined || unknown !== undefined) {
    console.error(`usage: npm run servers -- up|down|status|find [${names.join('] [')}]`);
    return 2;
  }
  let code = 0;
  const all = verb === 'up' ? light : names;
  for (const name of rest.length === 0 ? all : rest.filter(isName)) {
    try {
      await command(name);
    } catch (error) {
      if (!(error instanceof ServerUnavailable)) throw error;
      console.error(`${name}: not available (${error.message})`);
      code = 1;
    }
  }
  return code;
}

process.exitCode = await main(process.argv.slice(2));
