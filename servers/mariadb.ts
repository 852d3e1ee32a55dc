import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromDebian } from './debian.ts';
import { greetingOf } from './line.ts';
import { type At, type OwnOptions, type OwnServer, type Settings, startOwn } from './own.ts';
import { ServerUnavailable } from './place.ts';
import { findProgram, type Program } from './program.ts';

/** As in my.cnf, under `[mariadb]`: `{ 'max-allowed-packet': '1M' }`. */
export type MariaSettings = Settings;
export type MariaOptions = OwnOptions;
export type MariaServer = OwnServer;

/** A binary log of rows with the names of their columns, which capture needs; no wait for the disk. */
const defaults: MariaSettings = {
  'bind-address': '127.0.0.1',
  'log-bin': 'bin',
  'binlog-format': 'ROW',
  'binlog-row-image': 'FULL',
  'binlog-row-metadata': 'FULL',
  'server-id': '1',
  'sync-binlog': '0',
  'innodb-flush-log-at-trx-commit': '2',
  'innodb-buffer-pool-size': '64M',
  'character-set-server': 'utf8mb4',
  'collation-server': 'utf8mb4_bin',
  'default-time-zone': '+00:00',
  'skip-name-resolve': 'ON',
};

/** Finds a server: `mariadbd` on PATH, else Debian's package, fetched without being installed. */
export function findMaria(): Promise<Program> {
  return findProgram(['mariadbd'], ['--no-defaults', '--version'], () =>
    fromDebian({
      name: 'mariadb-server',
      packages: ['mariadb-server-core'],
      program: 'usr/sbin/mariadbd',
    }),
  );
}

/** Starts a MariaDB of its own, whose `root` needs no password, and waits until it answers. */
export async function startMaria(options: MariaOptions = {}): Promise<MariaServer> {
  const program = await findMaria();
  return startOwn(
    {
      name: 'MariaDB',
      version: program.version,
      how: program.how,
      defaults,
      url: ({ port }) => `mysql://root@127.0.0.1:${port}`,
      launch: async (at) => {
        const args = argumentsOf(program, at);
        if ((await readdir(at.dir)).length === 0) await initialize(program, args);
        const settings = Object.entries({ ...at.settings, port: String(at.port) });
        return {
          command: program.command,
          args: [...args, ...settings.map(([name, value]) => `--${name}=${value}`)],
          env: program.env,
        };
      },
      answers: async ({ port }) => (await greetingOf(port)).includes('MariaDB'),
    },
    options,
  );
}

/** `/usr`, of the system or of the folder that its package was unpacked into. */
function baseOf({ command, args }: Program): string {
  return dirname(dirname(args.at(-1) ?? command));
}

function argumentsOf(program: Program, { dir, folder }: At): string[] {
  const base = baseOf(program);
  return [
    ...program.args,
    '--no-defaults',
    `--basedir=${base}`,
    `--plugin-dir=${join(base, 'lib/mysql/plugin')}`,
    `--lc-messages-dir=${join(base, 'share/mysql')}`,
    `--datadir=${dir}`,
    `--socket=${join(folder, 's')}`,
    `--pid-file=${join(folder, 'pid')}`,
    // As root it wants to be told that it may.
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
  ];
}

const SYSTEM_TABLES = [
  'mysql_system_tables.sql',
  'mysql_performance_tables.sql',
  'mysql_system_tables_data.sql',
  'maria_add_gis_sp_bootstrap.sql',
  'mysql_sys_schema.sql',
];

/** What mariadb-install-db does, without the anonymous user and the database `test`. */
async function initialize(program: Program, args: readonly string[]): Promise<void> {
  const folder = join(baseOf(program), 'share/mysql');
  const child = spawn(
    program.command,
    [...args, '--bootstrap', '--log-warnings=0', '--max-allowed-packet=8M', '--silent-startup'],
    { env: { ...process.env, ...program.env }, stdio: ['pipe', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stdin.on('error', () => undefined);
  child.stdin.write(
    'create database if not exists mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n',
  );
  for (const name of SYSTEM_TABLES) {
    const text = await readFile(join(folder, name), 'utf8');
    child.stdin.write(text.replaceAll(/^.*@current_hostname.*\n/gm, ''));
  }
  child.stdin.end();
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new ServerUnavailable(`mariadbd --bootstrap failed: ${said.slice(-300)}`);
}
