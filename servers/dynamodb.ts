import { join } from 'node:path';
import { findJava, fromMaven, type JavaProgram, smallJava } from './java.ts';
import { type OwnOptions, type OwnServer, startOwn } from './own.ts';

export type DynamoOptions = OwnOptions;
export type DynamoServer = OwnServer;

const VERSION = '3.0.0';
const JAVA = 17;
const READY_MS = 60_000;

/** Fetches DynamoDB Local, the emulator by AWS, from Maven Central; needs a Java and Maven. */
export async function findDynamo(): Promise<JavaProgram> {
  const java = await findJava(JAVA);
  const place = await fromMaven(`dynamodb-local-${VERSION}`, [
    { group: 'software.amazon.dynamodb', name: 'DynamoDBLocal', version: VERSION },
  ]);
  return { java, lib: join(place, 'lib'), version: VERSION, how: 'from Maven Central' };
}

/** Starts a DynamoDB Local of its own and waits until it answers. It takes any credentials. Settings: its arguments. */
export async function startDynamo(options: DynamoOptions = {}): Promise<DynamoServer> {
  const { java, lib, version, how } = await findDynamo();
  return startOwn(
    {
      name: 'DynamoDB Local',
      version,
      how,
      defaults: {},
      readyMs: READY_MS,
      url: ({ port }) => `http://127.0.0.1:${port}`,
      launch: ({ port, dir, settings }) => ({
        command: java,
        args: [
          '-Xmx256m',
          ...smallJava,
          `-Djava.library.path=${lib}`,
          '-cp',
          join(lib, '*'),
          'software.amazon.dynamodb.services.local.main.ServerRunner',
          '-port',
          String(port),
          '-dbPath',
          dir,
          '-sharedDb',
          '-disableTelemetry',
          ...Object.entries(settings).flatMap(([name, value]) => [`-${name}`, value]),
        ],
      }),
      // Nobody signs this request, and is told so.
      answers: async ({ port }) => {
        const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
        return answer?.status === 400;
      },
    },
    options,
  );
}
