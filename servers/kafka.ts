import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findJava, fromMaven, type JavaProgram, smallJava, warningsToConsole } from './java.ts';
import { type At, type OwnOptions, type OwnServer, type Settings, startOwn } from './own.ts';
import { isThere } from './place.ts';

const run = promisify(execFile);

/** As in server.properties: `{ 'message.max.bytes': '100000' }`. */
export type KafkaSettings = Settings;
export type KafkaOptions = OwnOptions;
export type KafkaServer = OwnServer;

const VERSION = '4.1.1';
const LOG4J = '2.24.3';
const JAVA = 17;
const READY_MS = 120_000;

/** One broker that is its own controller (KRaft), with a heap that leaves room for others. */
const defaults: KafkaSettings = {
  'process.roles': 'broker,controller',
  'node.id': '1',
  'controller.listener.names': 'CONTROLLER',
  'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
  'offsets.topic.replication.factor': '1',
  'offsets.topic.num.partitions': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'transaction.state.log.num.partitions': '1',
  // After kill -9 a broker waits until its former self counts as gone.
  'broker.session.timeout.ms': '2000',
  'broker.heartbeat.interval.ms': '400',
  // A group of one member need not wait for others.
  'group.initial.rebalance.delay.ms': '0',
  'auto.create.topics.enable': 'false',
};

/** Fetches Apache Kafka from Maven Central; needs a Java and Maven. */
export async function findKafka(): Promise<JavaProgram> {
  const java = await findJava(JAVA);
  const place = await fromMaven(`kafka-${VERSION}`, [
    { group: 'org.apache.kafka', name: 'kafka_2.13', version: VERSION },
    // Without it the broker logs nothing, and so does not say that it has started.
    { group: 'org.apache.logging.log4j', name: 'log4j-slf4j-impl', version: LOG4J },
  ]);
  return { java, lib: join(place, 'lib'), version: VERSION, how: 'from Maven Central' };
}

/** Starts a Kafka of its own and waits until it answers. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServer> {
  const binary = await findKafka();
  return startOwn(
    {
      name: 'Kafka',
      version: binary.version,
      how: binary.how,
      defaults,
      otherPorts: 1,
      readyMs: READY_MS,
      url: ({ port }) => `kafka://127.0.0.1:${port}`,
      launch: async (at) => {
        const file = join(at.folder, 'server.properties');
        const logging = join(at.folder, 'log4j2.properties');
        await writeFile(file, propertiesOf(at));
        await writeFile(logging, LOGGING);
        const java = [`-Dlog4j2.configurationFile=${logging}`, '-cp', join(binary.lib, '*')];
        const tool = [...java, 'kafka.tools.StorageTool', 'format', '--ignore-formatted'];
        if (!(await isThere(join(at.dir, 'meta.properties')))) {
          const id = ['--cluster-id', 'tallystickServers00001', '--standalone'];
          await run(binary.java, ['-Xmx128m', ...smallJava, ...tool, ...id, '--config', file]);
        }
        const heap = ['-Xms256m', '-Xmx512m', ...smallJava];
        return { command: binary.java, args: [...heap, ...java, 'kafka.Kafka', file] };
      },
      answers: async ({ folder }) =>
        (await readFile(join(folder, 'server.log'), 'utf8')).includes('Kafka Server started'),
    },
    options,
  );
}

/** It says when it has started. */
const LOGGING = `${warningsToConsole}logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
`;

function propertiesOf({ port, otherPorts, dir, settings }: At): string {
  const [controller = 0] = otherPorts;
  const all: Settings = {
    ...settings,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': settings['advertised.listeners'] ?? `PLAINTEXT://127.0.0.1:${port}`,
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controller}`,
    'log.dirs': dir,
  };
  return Object.entries(all)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
