import { access, chown, constants, mkdir, mkdtemp, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { User } from './process.ts';

/** A server that cannot be had on this machine. The message is one line. */
export class ServerUnavailable extends Error {
  override readonly name = 'ServerUnavailable';
}

const project = dirname(import.meta.dirname);

/** Where servers, their packages and their data live inside the project. */
export const home: string = join(project, '.servers');

/** Fetched packages stay here from one run to the next. */
export const cache: string = join(home, 'cache');

/** Where packages stay whose programs a user has to read. */
export async function cacheFor(user: User | undefined): Promise<string> {
  await mkdir(cache, { recursive: true });
  if (await canReach(cache, user)) return cache;
  const other = join(tmpdir(), 'tally-servers-cache');
  await mkdir(other, { recursive: true });
  return other;
}

/** A new folder of one server, reachable and writable by its user. */
export async function privateFolder(name: string, user: User | undefined): Promise<string> {
  await mkdir(home, { recursive: true });
  const parent = (await canReach(home, user)) ? home : tmpdir();
  const folder = await mkdtemp(join(parent, `${name}-`));
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  return folder;
}

/** Whether a user may enter a folder and all folders above it. */
export async function canReach(path: string, user: User | undefined): Promise<boolean> {
  if (user === undefined) return true;
  for (let each = path; ; each = dirname(each)) {
    const { mode, uid, gid } = await stat(each);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (each === dirname(each)) return true;
  }
}

/** The user `nobody`, for servers that refuse to run as root; `undefined` unless we are root. */
export async function unprivileged(): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(users) ?? [];
  return { uid: Number(uid ?? 65_534), gid: Number(gid ?? 65_534) };
}

/** The first of these programs on PATH. */
export async function onPath(...names: readonly string[]): Promise<string | undefined> {
  for (const name of names) {
    for (const folder of (process.env['PATH'] ?? '').split(delimiter).filter(Boolean)) {
      if (await isProgram(join(folder, name))) return join(folder, name);
    }
  }
  return undefined;
}

export async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

export async function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

const LOWEST_PORT = 10_000;
const HIGHEST_PORT = 30_000;

/**
 * A port that nobody listens on. It lies below the ports that systems give to outgoing connections: otherwise one of those could
 * take the port of a server while it is down, or a client that reconnects could be connected to itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST_PORT + Math.floor(Math.random() * (HIGHEST_PORT - LOWEST_PORT));
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** The end of a server's own log, for the message that says why it did not start. */
export async function endOf(log: string): Promise<string> {
  const text = await readFile(log, 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-5).join('\n');
}

/** One line of what has come up, on standard error: standard output belongs to the program. */
export function announce(name: string, version: string, how: string, sinceMs: number): void {
  if (process.env['TALLY_SERVERS_QUIET'] === '1') return;
  process.stderr.write(`${name} ${version} (${how}) in ${Math.round(Date.now() - sinceMs)} ms\n`);
}
