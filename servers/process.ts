import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { open, readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Who a server runs as, if not as whoever starts it. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

export interface ServerProcess {
  readonly pid: number;
  /** Whether it has ended, by itself or by us. */
  readonly ended: () => boolean;
  /** Resolves when it has ended. */
  readonly exit: Promise<void>;
  /** Sends a signal and waits for the end; after `patienceMs` kills it with all its children. */
  readonly end: (signal: NodeJS.Signals, patienceMs: number) => Promise<void>;
  /** Kills it and all its children, as a machine that loses power would. Nothing is left when this returns. */
  readonly kill: () => Promise<void>;
}

interface Start {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly log: string;
  readonly user?: User | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** What to remove if we ourselves are killed; without it the server outlives us on purpose. */
  readonly guard: { readonly remove: string } | 'none';
}

const POLL_MS = 5;

/**
 * Starts a server in a session of its own, so that Ctrl-C in a terminal reaches us and not it: we stop it in order.
 * Should we be killed ourselves, a guard (a shell that waits for the end of a pipe that we hold) kills it instead.
 */
export async function startProcess(start: Start): Promise<ServerProcess> {
  const log = await open(start.log, 'a');
  let child: ChildProcess;
  try {
    child = spawn(start.command, start.args, {
      cwd: start.cwd,
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC', ...start.env },
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      ...start.user,
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  } finally {
    await log.close();
  }
  const { pid } = child;
  if (pid === undefined) throw new Error(`${start.command} did not start`);
  child.unref();
  const guard = start.guard === 'none' ? undefined : startGuard(pid, start.guard.remove);
  let over = false;
  const exit = new Promise<void>((resolve) => {
    child.once('exit', () => {
      over = true;
      guard?.kill('SIGKILL');
      resolve();
    });
  });
  const kill = async (): Promise<void> => {
    if (over) return;
    child.ref();
    guard?.kill('SIGKILL');
    await killTree(pid);
    await exit;
  };
  return {
    pid,
    ended: () => over,
    exit,
    kill,
    end: async (signal, patienceMs) => {
      if (over) return;
      signalTo(pid, signal);
      const patience = new AbortController();
      const tired = sleep(patienceMs, undefined, { signal: patience.signal });
      await Promise.race([exit, tired.catch(() => undefined)]);
      patience.abort();
      await kill();
    },
  };
}

/** Kills when its standard input ends, which happens when we do, however we end. */
function startGuard(pid: number, remove: string): ChildProcess {
  // SIGQUIT is the end without ceremony of PostgreSQL, which takes its children along.
  const script = 'read -r line; kill -QUIT "$1"; sleep 1; kill -KILL "$1"; rm -rf "$2"';
  const guard = spawn('/bin/sh', ['-c', script, 'guard', String(pid), remove], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // Neither the guard nor its pipe keep us from ending.
  guard.on('error', () => undefined);
  guard.unref();
  if (guard.stdin !== null && 'unref' in guard.stdin) (guard.stdin as { unref(): void }).unref();
  return guard;
}

/** Kills a process and its children. The parent is stopped first: it cannot have more of them meanwhile. */
export async function killTree(pid: number): Promise<void> {
  signalTo(pid, 'SIGSTOP');
  const all = [pid, ...(await childrenOf(pid))];
  for (const each of all) signalTo(each, 'SIGKILL');
  while ((await Promise.all(all.map(isAlive))).includes(true)) await sleep(POLL_MS);
}

export function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whether a process still runs. One that has ended and waits for its parent to notice does not. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== 'linux') return true;
  const found = await statOf(pid);
  return found !== undefined && found.state !== 'Z' && found.state !== 'X';
}

/** The processes that a process has started and that have not ended. */
export async function childrenOf(pid: number): Promise<number[]> {
  if (process.platform === 'linux') {
    const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger);
    const stats = await Promise.all(pids.map(statOf));
    return stats.flatMap((stat) => (stat?.parent === pid ? [stat.pid] : []));
  }
  const { stdout } = await promisify(execFile)('ps', ['-axo', 'pid=,ppid=']);
  return stdout.split('\n').flatMap((line) => {
    const [child, parent] = line.trim().split(/\s+/).map(Number);
    return child !== undefined && parent === pid ? [child] : [];
  });
}

interface Stat {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
}

async function statOf(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The second field is the name in parentheses, which may hold anything.
  const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return state === undefined || parent === undefined
    ? undefined
    : { pid, state, parent: Number(parent) };
}
