import { askLine } from './line.ts';
import { fromDebian } from './debian.ts';
import { findProgram, type Program } from './program.ts';
import { type OwnOptions, type OwnServer, startOwn } from './own.ts';

export type NatsOptions = OwnOptions;
export type NatsServer = OwnServer;

/** Finds a server: `nats-server` on PATH, else Debian's package, fetched without being installed. */
export function findNats(): Promise<Program> {
  return findProgram(['nats-server'], ['--version'], () =>
    fromDebian({
      name: 'nats-server',
      packages: ['nats-server'],
      program: 'usr/sbin/nats-server',
    }),
  );
}

/** Starts a NATS server with JetStream of its own and waits until it answers. Settings are arguments of its command line. */
export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const program = await findNats();
  return startOwn(
    {
      name: 'NATS',
      version: program.version,
      how: program.how,
      defaults: {},
      url: ({ port }) => `nats://127.0.0.1:${port}`,
      launch: ({ port, dir, settings }) => ({
        command: program.command,
        args: [
          ...program.args,
          '-a',
          '127.0.0.1',
          '-p',
          String(port),
          '-js',
          '-sd',
          dir,
          ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
        ],
        env: program.env,
      }),
      answers: async ({ port }) => /^INFO .*"jetstream":true/.test(await askLine(port, 'PING')),
    },
    options,
  );
}
