import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findJava, fromMaven, type JavaProgram, smallJava } from './java.ts';
import { type At, type OwnOptions, type OwnServer, type Settings, startOwn } from './own.ts';

/** As in cassandra.yaml, at its top level. */
export type CassandraSettings = Settings;
export type CassandraOptions = OwnOptions;
export type CassandraServer = OwnServer;

const VERSION = '5.0.8';
const JAVA = 17;
const READY_MS = 120_000;

/** One node; what it answered for is on the disk after a second, and with the system at once. */
const defaults: CassandraSettings = {
  cluster_name: 'tallystick',
  num_tokens: '1',
  partitioner: 'org.apache.cassandra.dht.Murmur3Partitioner',
  commitlog_sync: 'periodic',
  commitlog_sync_period: '1000ms',
  listen_address: '127.0.0.1',
  rpc_address: '127.0.0.1',
  endpoint_snitch: 'SimpleSnitch',
  memtable_heap_space: '64MiB',
  memtable_offheap_space: '32MiB',
  key_cache_size: '8MiB',
  concurrent_compactors: '1',
};

/** Fetches Apache Cassandra from Maven Central; needs a Java and Maven. */
export async function findCassandra(): Promise<JavaProgram> {
  const java = await findJava(JAVA);
  const place = await fromMaven(`cassandra-${VERSION}`, [
    { group: 'org.apache.cassandra', name: 'cassandra-all', version: VERSION },
  ]);
  return { java, lib: join(place, 'lib'), version: VERSION, how: 'from Maven Central' };
}

/** Starts a Cassandra of its own and waits until it answers. */
export async function startCassandra(options: CassandraOptions = {}): Promise<CassandraServer> {
  const { java, lib, version, how } = await findCassandra();
  return startOwn(
    {
      name: 'Cassandra',
      version,
      how,
      defaults,
      otherPorts: 1,
      readyMs: READY_MS,
      url: ({ port }) => `cassandra://127.0.0.1:${port}`,
      launch: async (at) => {
        const config = await configure(at);
        return {
          command: java,
          args: [
            '-Xms256m',
            '-Xmx640m',
            ...smallJava,
            ...OPENED,
            `-Dcassandra.config=file://${join(config, 'cassandra.yaml')}`,
            `-Dcassandra.storagedir=${at.dir}`,
            `-Dlogback.configurationFile=${join(config, 'logback.xml')}`,
            // A node alone has nobody to wait for.
            '-Dcassandra.skip_wait_for_gossip_to_settle=0',
            '-Dcassandra.ring_delay_ms=100',
            '-Dcassandra-foreground=yes',
            '-cp',
            join(lib, '*'),
            'org.apache.cassandra.service.CassandraDaemon',
          ],
        };
      },
      answers: async ({ folder }) =>
        (await readFile(join(folder, 'server.log'), 'utf8')).includes('Startup complete'),
    },
    options,
  );
}

/** What it reaches into, as its own start script says for Java 17. */
const OPENED = [
  ...['jdk.internal.misc', 'java.lang.ref'].map((name) => `--add-exports=java.base/${name}`),
  '--add-exports=java.management.rmi/com.sun.jmx.remote.internal.rmi',
  '--add-exports=java.rmi/sun.rmi.registry',
  '--add-exports=java.rmi/sun.rmi.server',
  '--add-exports=java.sql/java.sql',
  '--add-exports=jdk.unsupported/sun.misc',
  '--add-opens=jdk.management/com.sun.management.internal',
  '--add-opens=java.rmi/sun.rmi.transport.tcp',
  ...[
    'java.io',
    'java.lang',
    'java.lang.module',
    'java.lang.reflect',
    'java.nio',
    'java.util',
    'java.util.concurrent',
    'java.util.concurrent.atomic',
    'jdk.internal.loader',
    'jdk.internal.math',
    'jdk.internal.module',
    'jdk.internal.ref',
    'jdk.internal.reflect',
    'jdk.internal.util.jar',
    'sun.nio.ch',
  ].map((name) => `--add-opens=java.base/${name}`),
].map((option) => `${option}=ALL-UNNAMED`);

const LOGGING = `<configuration>
<appender name="console" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %p %c: %m%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="console"/></root>
<logger name="org.apache.cassandra.service.CassandraDaemon" level="INFO"/>
</configuration>
`;

async function configure({ port, otherPorts: [storage], folder, settings }: At): Promise<string> {
  const config = join(folder, 'config');
  await mkdir(config, { recursive: true });
  const all: Settings = {
    ...settings,
    native_transport_port: String(port),
    storage_port: String(storage),
  };
  const seeds = `seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1:${storage}"
`;
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\n`);
  await writeFile(join(config, 'cassandra.yaml'), lines.join('') + seeds);
  await writeFile(join(config, 'logback.xml'), LOGGING);
  return config;
}
