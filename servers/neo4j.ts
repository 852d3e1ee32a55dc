import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findJava, fromMaven, type JavaProgram, smallJava } from './java.ts';
import { type OwnOptions, type OwnServer, startOwn } from './own.ts';

export type NeoOptions = Omit<OwnOptions, 'settings'>;
export type NeoServer = OwnServer;

/** The last with long support that runs on Java 17. */
const VERSION = '5.26.12';
const JAVA = 17;
const READY_MS = 120_000;

/** Fetches Neo4j, Community edition, from Maven Central; needs a Java (with its compiler) and Maven. */
export async function findNeo(): Promise<JavaProgram> {
  const java = await findJava(JAVA);
  const place = await fromMaven(`neo4j-${VERSION}`, [
    { group: 'org.neo4j', name: 'neo4j', version: VERSION },
  ]);
  return { java, lib: join(place, 'lib'), version: VERSION, how: 'from Maven Central' };
}

/** Starts a Neo4j of its own and waits until it answers. It asks for no password. */
export async function startNeo(options: NeoOptions = {}): Promise<NeoServer> {
  const { java, lib, version, how } = await findNeo();
  return startOwn(
    {
      name: 'Neo4j',
      version,
      how,
      defaults: {},
      readyMs: READY_MS,
      url: ({ port }) => `bolt://127.0.0.1:${port}`,
      launch: ({ port, dir }) => ({
        command: java,
        args: [
          '-Xmx512m',
          ...smallJava,
          '-cp',
          join(lib, '*'),
          join(import.meta.dirname, 'Neo4j.java'),
          dir,
          String(port),
        ],
      }),
      answers: async ({ folder }) =>
        (await readFile(join(folder, 'server.log'), 'utf8')).includes('Neo4j serves'),
    },
    options,
  );
}
