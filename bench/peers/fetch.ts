import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
/** Kept between runs, never in the repository. */
const CACHE = join(tmpdir(), 'tallystick-bench-peers');
const FETCH_MS = 600_000;

/** A package of npm in a folder of its own; undefined, with a line that says why, if it cannot be had. */
export async function npmPeer(name: string, version: string): Promise<string | undefined> {
  const dir = join(CACHE, `${name}-${version}`);
  return await fetched(`${name} ${version}`, dir, async (into) => {
    await execute(
      'npm',
      ['install', '--prefix', into, '--no-audit', '--no-fund', `${name}@${version}`],
      {
        timeout: FETCH_MS,
      },
    );
  });
}

/** Debezium's engine with the program that drains it, compiled: what to give to java as its class path. */
export async function debeziumPeer(): Promise<
  { readonly classPath: string; readonly version: string } | undefined
> {
  const source = join(import.meta.dirname, 'debezium');
  const pom = await readFile(join(source, 'pom.xml'), 'utf8');
  const version = /<debezium\.version>(.+)<\/debezium\.version>/.exec(pom)?.[1] ?? '';
  const dir = await fetched(
    `Debezium ${version}`,
    join(CACHE, `debezium-${version}`),
    async (into) => {
      await mkdir(into, { recursive: true });
      await copyFile(join(source, 'pom.xml'), join(into, 'pom.xml'));
      const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies';
      const args = ['-q', '-B', '-f', join(into, 'pom.xml'), goal];
      await execute(
        'mvn',
        [...args, '-DincludeScope=runtime', `-DoutputDirectory=${join(into, 'lib')}`],
        {
          timeout: FETCH_MS,
        },
      );
    },
  );
  if (dir === undefined) return undefined;
  const libraries = join(dir, 'lib', '*');
  const classes = join(dir, 'classes');
  await execute('javac', ['-cp', libraries, '-d', classes, join(source, 'Drain.java')]);
  return { classPath: `${classes}:${libraries}`, version };
}

async function fetched(
  what: string,
  dir: string,
  fetch: (into: string) => Promise<void>,
): Promise<string | undefined> {
  if (existsSync(dir)) return dir;
  const partial = `${dir}.partial`;
  try {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    await fetch(partial);
    await rename(partial, dir);
    return dir;
  } catch (error) {
    const { stderr, message } = error as { readonly stderr?: string; readonly message: string };
    console.error(
      `${what} cannot be had: ${(stderr ?? message).trim().split('\n').slice(0, 3).join(' ')}`,
    );
    return undefined;
  }
}
