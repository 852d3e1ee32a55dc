import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cache, isProgram, onPath, ServerUnavailable } from './place.ts';

const run = promisify(execFile);

/** How a program in a folder of unpacked packages is run: with the libraries beside it. */
export interface Unpacked {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Packages {
  /** The name of the folder that keeps them. */
  readonly name: string;
  readonly packages: readonly string[];
  /** The program that is wanted, by its path in the package. */
  readonly program: string;
  /** Another release of Debian than that which runs here: then its C library comes along, and the system's is not used. */
  readonly release?: string;
}

/** Fetches packages of Debian with what apt knows of mirrors and keys, and unpacks them into the cache: nothing is installed. */
export async function fromDebian(wanted: Packages): Promise<Unpacked> {
  if ((await onPath('apt-get')) === undefined || (await onPath('dpkg')) === undefined) {
    throw new ServerUnavailable(`no ${wanted.name} on PATH, and no apt-get to fetch it`);
  }
  const place = join(cache, `debian-${wanted.release ?? 'own'}-${wanted.name}`);
  const program = join(place, wanted.program);
  if (!(await isProgram(program))) await fetch(wanted, place);
  const folders = await libraries(place);
  const path = folders.join(':');
  if (wanted.release === undefined) {
    return { command: program, args: [], env: { LD_LIBRARY_PATH: path } };
  }
  const loader = await loaderIn(folders);
  return { command: loader, args: ['--library-path', path, program], env: {} };
}

async function fetch(wanted: Packages, place: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(join(cache, 'fetching-'));
  const root = join(temporary, 'root');
  try {
    const apt = wanted.release === undefined ? [] : await foreign(wanted.release, temporary);
    const direct = await dependencies(apt, wanted.packages, []);
    const names = new Set([
      ...wanted.packages,
      ...(await dependencies(apt, direct, ['--recurse'])),
    ]);
    if (wanted.release === undefined) names.delete('libc6');
    await run('apt-get', [...apt, 'download', '-qq', ...names], {
      cwd: temporary,
      timeout: 180_000,
    });
    for (const file of (await readdir(temporary)).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', join(temporary, file), root]);
    }
    // Another run may have fetched the same meanwhile; then its copy is as good as ours.
    await rename(root, place).catch(() => undefined);
  } catch (error) {
    const said = error instanceof Error ? error.message.trim().replaceAll(/\s*\n\s*/g, ' ') : '';
    throw new ServerUnavailable(`apt-get could not fetch ${wanted.name}: ${said.slice(0, 300)}`);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

const onlyNeeded = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'];

/** The libraries that these packages need; with `--recurse` those that the libraries need too, and they themselves. */
async function dependencies(
  apt: readonly string[],
  packages: readonly string[],
  options: readonly string[],
): Promise<string[]> {
  const without = onlyNeeded.map((kind) => `--no-${kind}`);
  const { stdout } = await run('apt-cache', [
    ...apt,
    'depends',
    ...options,
    ...without,
    ...packages,
  ]);
  const names = stdout.matchAll(/^(?: *(?:Pre)?Depends: )?((?:lib|lua-|zlib)[^\s:]+)$/gm);
  return [...new Set([...names].map(([, name = '']) => name))];
}

const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Makes apt look at another release, from the mirror that it already uses, with lists in a folder of ours. */
async function foreign(release: string, folder: string): Promise<string[]> {
  const targets = ['indextargets', '--format', '$(ORIGIN)/$(LABEL) $(REPO_URI)'];
  const { stdout } = await run('apt-get', [...targets, 'Created-By: Packages']);
  const mirror = /^Debian\/Debian (\S+)$/m.exec(stdout)?.[1];
  if (mirror === undefined) throw new Error('the system has no mirror of Debian');
  const sources = join(folder, 'sources.list');
  await writeFile(sources, `deb [signed-by=${KEYS}] ${mirror} ${release} main\n`);
  const state = join(folder, 'apt');
  await mkdir(join(state, 'lists/partial'), { recursive: true });
  await mkdir(join(state, 'archives/partial'), { recursive: true });
  const options = [
    `Dir::Etc::sourcelist=${sources}`,
    'Dir::Etc::sourceparts=/dev/null',
    `Dir::State::lists=${join(state, 'lists')}`,
    'Dir::State::status=/dev/null',
    `Dir::Cache=${state}`,
    'APT::Sandbox::User=',
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
  ].flatMap((option) => ['-o', option]);
  await run('apt-get', [...options, 'update', '-qq'], { timeout: 180_000 });
  return options;
}

async function libraries(root: string): Promise<string[]> {
  const lib = join(root, 'usr/lib');
  const folders = await readdir(lib).catch(() => []);
  return folders.filter((name) => name.includes('-linux-')).map((name) => join(lib, name));
}

async function loaderIn(folders: readonly string[]): Promise<string> {
  for (const folder of folders) {
    const name = (await readdir(folder)).find((each) => /^ld-linux.*\.so\.\d+$/.test(each));
    if (name !== undefined) return join(folder, name);
  }
  throw new ServerUnavailable('the fetched C library has no loader');
}
