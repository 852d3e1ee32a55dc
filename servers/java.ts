import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFor, isProgram, isThere, onPath, ServerUnavailable } from './place.ts';
import type { User } from './process.ts';

const run = promisify(execFile);

/** A server written in Java, where it was found. */
export interface JavaProgram {
  readonly java: string;
  /** The folder of its libraries. */
  readonly lib: string;
  readonly version: string;
  /** For people: where it comes from. */
  readonly how: string;
}

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

/** How log4j is told to write warnings to the server's log. */
export const warningsToConsole = `rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n
`;

export interface Artifact {
  readonly group: string;
  readonly name: string;
  readonly version: string;
}

/** Two cores and a few gigabytes are shared with everything else. */
export const smallJava: readonly string[] = [
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-XX:ActiveProcessorCount=2',
  '-XX:+ExitOnOutOfMemoryError',
];

const FETCH_MS = 300_000;

/** Fetches libraries from Maven Central with all that they need, into the folder `lib` of the folder that is returned. */
export function fromMaven(
  name: string,
  artifacts: readonly Artifact[],
  user?: User,
): Promise<string> {
  return fetched(
    name,
    'copy-dependencies',
    artifacts.map((each) => dependencyOf(each)),
    user,
  );
}

/** Fetches an archive (zip) from Maven Central and unpacks it into the folder `lib` of the folder that is returned. */
export function archiveFromMaven(name: string, artifact: Artifact, user?: User): Promise<string> {
  return fetched(name, 'unpack-dependencies', [dependencyOf(artifact, '<type>zip</type>')], user);
}

async function fetched(
  name: string,
  goal: string,
  dependencies: readonly string[],
  user: User | undefined,
): Promise<string> {
  const cache = await cacheFor(user);
  const place = join(cache, `maven-${name}`);
  if (await isThere(join(place, 'pom.xml'))) return place;
  const mvn = await onPath('mvn');
  if (mvn === undefined) throw new ServerUnavailable(`no Maven on PATH to fetch ${name} with`);
  const temporary = await mkdtemp(join(cache, 'fetching-'));
  try {
    await chmod(temporary, 0o755);
    await writeFile(join(temporary, 'pom.xml'), pomOf(dependencies));
    const options = ['-DincludeScope=runtime', '-DoutputDirectory=lib'];
    const all = ['-q', '-B', `dependency:${goal}`, ...options];
    await run(mvn, all, { cwd: temporary, timeout: FETCH_MS });
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

function dependencyOf({ group, name, version }: Artifact, type = ''): string {
  return `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version>${type}</dependency>`;
}

function pomOf(dependencies: readonly string[]): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>servers</groupId><artifactId>fetch</artifactId><version>1</version>
<dependencies>${dependencies.join('\n')}</dependencies></project>\n`;
}
