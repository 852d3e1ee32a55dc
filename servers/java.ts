import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cache, isProgram, onPath, ServerUnavailable } from './place.ts';

const run = promisify(execFile);

/** Finds a Java of at least this version: JAVA_HOME, PATH, then those of the system, the oldest that will do. */
export async function findJava(atLeast: number): Promise<string> {
  const home = process.env['JAVA_HOME'] ?? '';
  const path = await onPath('java');
  const system = await readdir('/usr/lib/jvm').catch(() => []);
  const places = [
    ...(home === '' ? [] : [join(home, 'bin/java')]),
    ...(path === undefined ? [] : [path]),
    ...system.map((name) => join('/usr/lib/jvm', name, 'bin/java')),
  ];
  const versions: { place: string; version: number }[] = [];
  for (const place of places) {
    if (await isProgram(place)) versions.push({ place, version: await versionOf(place) });
  }
  const [found] = versions
    .filter(({ version }) => version >= atLeast)
    .toSorted((one, other) => one.version - other.version);
  if (found === undefined) throw new ServerUnavailable(`no Java ${atLeast} or newer`);
  return found.place;
}

async function versionOf(java: string): Promise<number> {
  const { stderr } = await run(java, ['-version']).catch(() => ({ stderr: '' }));
  return Number(/version "(\d+)/.exec(stderr)?.[1] ?? 0);
}

export interface Artifact {
  readonly group: string;
  readonly name: string;
  readonly version: string;
  /** Of an archive (`zip`, `tar.gz`, `so`); a library with all that it needs without it. */
  readonly type?: string;
}

const FETCH_MS = 300_000;

/** Fetches libraries from Maven Central with all that they need, into a folder of the cache. */
export async function fromMaven(name: string, artifacts: readonly Artifact[]): Promise<string> {
  const place = join(cache, `maven-${name}`);
  const mark = join(place, 'complete');
  if (await isFile(mark)) return place;
  const mvn = await onPath('mvn');
  if (mvn === undefined) throw new ServerUnavailable(`no Maven on PATH to fetch ${name} with`);
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(join(cache, 'fetching-'));
  try {
    await writeFile(join(temporary, 'pom.xml'), pomOf(artifacts));
    const goal = ['-q', '-B', 'dependency:copy-dependencies', '-DincludeScope=runtime'];
    await run(mvn, [...goal, '-DoutputDirectory=lib'], { cwd: temporary, timeout: FETCH_MS });
    await writeFile(join(temporary, 'complete'), '');
    // Another run may have fetched the same meanwhile; then its copy is as good as ours.
    await rename(temporary, place).catch(() => undefined);
  } catch (error) {
    const said = error instanceof Error ? error.message.trim().replaceAll(/\s*\n\s*/g, ' ') : '';
    throw new ServerUnavailable(`Maven could not fetch ${name}: ${said.slice(0, 300)}`);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return place;
}

async function isFile(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function pomOf(artifacts: readonly Artifact[]): string {
  const dependencies = artifacts.map(
    ({ group, name, version, type = 'jar' }) =>
      `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version><type>${type}</type></dependency>`,
  );
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>servers</groupId><artifactId>fetch</artifactId><version>1</version>
<dependencies>${dependencies.join('\n')}</dependencies></project>\n`;
}
