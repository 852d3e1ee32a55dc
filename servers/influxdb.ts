import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromDebian } from './debian.ts';
import { type OwnOptions, type OwnServer, startOwn } from './own.ts';
import { findProgram, type Program } from './program.ts';

export type InfluxOptions = OwnOptions;
export type InfluxServer = OwnServer;

/** Finds a server of version 1: `influxd` on PATH, else Debian's package, fetched without being installed. */
export function findInflux(): Promise<Program> {
  return findProgram(['influxd'], ['version'], () =>
    fromDebian({ name: 'influxdb', packages: ['influxdb'], program: 'usr/bin/influxd' }),
  );
}

/** Starts an InfluxDB of its own and waits until it answers. Settings are those of its section `[data]`, as TOML values. */
export async function startInflux(options: InfluxOptions = {}): Promise<InfluxServer> {
  const program = await findInflux();
  return startOwn(
    {
      name: 'InfluxDB',
      version: program.version,
      how: program.how,
      defaults: {},
      otherPorts: 1,
      url: ({ port }) => `http://127.0.0.1:${port}`,
      launch: async ({ port, otherPorts: [rpc], dir, folder, settings }) => {
        const file = join(folder, 'influxdb.conf');
        const data = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
        await writeFile(
          file,
          `reporting-disabled = true
bind-address = "127.0.0.1:${rpc}"
[meta]
dir = "${dir}/meta"
[data]
dir = "${dir}/data"
wal-dir = "${dir}/wal"
${data.join('')}[http]
bind-address = "127.0.0.1:${port}"
log-enabled = false
`,
        );
        return {
          command: program.command,
          args: [...program.args, 'run', '-config', file],
          env: { ...program.env, HOME: folder },
        };
      },
      answers: async ({ port }) => {
        const answer = await fetch(`http://127.0.0.1:${port}/ping`).catch(() => undefined);
        return answer?.status === 204;
      },
    },
    options,
  );
}
