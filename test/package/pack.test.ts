import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };

// What a user gets: the packed tarball, installed where there is no driver and no source condition.
// It is packed from a copy, so that a build in the work tree and this test never meet in dist.

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
const drivers = Object.keys(manifest.peerDependencies);

let directory: string;
let application: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallystick-pack-'));
  const copy = join(directory, 'copy');
  application = join(directory, 'application');
  await mkdir(copy);
  await mkdir(application);
  for (const name of ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'LICENSE', 'src']) {
    await cp(join(root, name), join(copy, name), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'), 'junction');
  await npm(copy, 'pack', '--pack-destination', directory);
  const tarball = join(directory, `${manifest.name}-${manifest.version}.tgz`);
  await writeFile(join(application, 'package.json'), '{ "private": true, "type": "module" }\n');
  await npm(application, 'install', '--offline', '--omit=optional', '--omit=peer', tarball);
}, 180_000);

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function npm(cwd: string, ...args: readonly string[]): Promise<void> {
  const command = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const quiet = ['--no-audit', '--no-fund', '--no-update-notifier'];
  try {
    await run(command, [...args, ...quiet], { cwd, env: environment() });
  } catch (error) {
    // The compiler reports on stdout, which the error of a failed command leaves out.
    const { stdout } = error as { stdout: string };
    throw new Error(`npm ${args.join(' ')} failed:\n${stdout}`, { cause: error });
  }
}

/** The environment without what npm and vitest hand to the scripts they run. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !name.startsWith('npm_') && name !== 'NODE_OPTIONS' && !name.startsWith('VITEST'),
    ),
  );
}

async function node(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, args, { cwd: application, env: environment() });
  return stdout;
}

test('the installation carries no driver', async () => {
  const script = drivers.map(
    (name) => `try {
    import.meta.resolve('${name}');
    console.log('${name}');
  } catch {}`,
  );

  expect(drivers.length).toBeGreaterThan(0);
  expect(await node('--input-type=module', '--eval', script.join('\n'))).toBe('');
});

test.each(subpaths)('imports %s without a driver', async (path) => {
  const name = `${manifest.name}${path.slice(1)}`;
  const script = `console.log(typeof await import('${name}'), import.meta.resolve('${name}'));`;

  const answer = await node('--input-type=module', '--eval', script);

  expect(answer).toMatch(/^object file:.*\/node_modules\/tallystick\/dist\/.*\.js\n$/);
});

test('carries its licence and no tests', async () => {
  const installed = join(application, 'node_modules', manifest.name);
  const lock = await readFile(join(application, 'package-lock.json'), 'utf8');
  const { stdout } = await run('tar', [
    '-tzf',
    join(directory, `${manifest.name}-${manifest.version}.tgz`),
  ]);

  expect(await readFile(join(installed, 'LICENSE'), 'utf8')).toContain('Apache License');
  expect(stdout).not.toMatch(/\.test\.|node_modules|tsconfig/);
  expect(lock).not.toContain('duckdb/node-bindings');
});

test('the tally command answers --help', async () => {
  const bin = join(application, 'node_modules', '.bin', 'tally');

  const { stdout } = await run(bin, ['--help'], { cwd: application, env: environment() });

  expect(stdout).toMatch(/tally/i);
});
