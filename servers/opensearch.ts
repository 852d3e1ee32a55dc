import { chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  archiveFromMaven,
  findJava,
  type JavaProgram,
  smallJava,
  warningsToConsole,
} from './java.ts';
import { type At, type OwnOptions, type OwnServer, type Settings, startOwn } from './own.ts';
import { unprivileged } from './place.ts';
import type { User } from './process.ts';

/** As in opensearch.yml. */
export type OpenSearchSettings = Settings;
export type OpenSearchOptions = OwnOptions;
export type OpenSearchServer = OwnServer;

const VERSION = '3.4.0';
const JAVA = 21;
const READY_MS = 120_000;

/** One node that is its own cluster; a full disk of the machine is nothing to it. */
const defaults: OpenSearchSettings = {
  'discovery.type': 'single-node',
  'network.host': '127.0.0.1',
  'cluster.routing.allocation.disk.threshold_enabled': 'false',
};

/** Fetches OpenSearch without its plugins from Maven Central; needs a Java and Maven. */
export async function findOpenSearch(): Promise<JavaProgram> {
  const java = await findJava(JAVA);
  const place = await archiveFromMaven(
    `opensearch-${VERSION}`,
    { group: 'org.opensearch.distribution.integ-test-zip', name: 'opensearch', version: VERSION },
    await unprivileged(),
  );
  const lib = join(place, 'lib', `opensearch-${VERSION}`);
  return { java, lib, version: VERSION, how: 'from Maven Central' };
}

/** Starts an OpenSearch of its own and waits until it answers. */
export async function startOpenSearch(options: OpenSearchOptions = {}): Promise<OpenSearchServer> {
  const { java, lib, version, how } = await findOpenSearch();
  const user = await unprivileged();
  return startOwn(
    {
      name: 'OpenSearch',
      version,
      how,
      defaults,
      user,
      otherPorts: 1,
      readyMs: READY_MS,
      url: ({ port }) => `http://127.0.0.1:${port}`,
      launch: async (at) => {
        const config = await configure(at, user);
        return {
          command: java,
          args: [
            '-Xms256m',
            '-Xmx512m',
            ...smallJava,
            `-Djava.io.tmpdir=${at.folder}`,
            `-Dopensearch.path.home=${lib}`,
            `-Dopensearch.path.conf=${config}`,
            '-Dopensearch.distribution.type=zip',
            `-javaagent:${join(lib, 'agent/opensearch-agent.jar')}`,
            '-cp',
            join(lib, 'lib/*'),
            'org.opensearch.bootstrap.OpenSearch',
          ],
        };
      },
      answers: async ({ port }) => {
        const url = `http://127.0.0.1:${port}/_cluster/health`;
        const answer = await fetch(url).catch(() => undefined);
        return answer?.status === 200 && /"status":"(?:green|yellow)"/.test(await answer.text());
      },
    },
    options,
  );
}

async function configure(at: At, user: User | undefined): Promise<string> {
  const { port, otherPorts, dir, folder, settings } = at;
  const config = join(folder, 'config');
  await mkdir(config, { recursive: true });
  const all: Settings = {
    ...settings,
    'http.port': String(port),
    'transport.port': String(otherPorts[0]),
    'path.data': dir,
    'path.logs': join(folder, 'logs'),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\n`);
  await writeFile(join(config, 'opensearch.yml'), lines.join(''));
  await writeFile(join(config, 'log4j2.properties'), warningsToConsole);
  if (user !== undefined) {
    for (const each of [config, dir]) await chown(each, user.uid, user.gid);
  }
  return config;
}
