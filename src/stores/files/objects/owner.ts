import { readFile, readlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Random } from '../../../ports/clock.ts';
import { corruptFile, isAbsent, isPresent, systemErrorCode } from '../errors.ts';

/** Who holds a lock or writes a temporary file: one open store in one process. */
export interface Owner {
  readonly id: string;
  readonly pid: number;
  /** Host and process namespace: only within it does a process id mean anything. */
  readonly place: string;
  /** This boot of the machine; empty where the system does not say. */
  readonly boot: string;
  /** When the process started, as the system counts: tells a reused process id. Empty if not said. */
  readonly started: string;
}

/**
 * What can be said of an owner. `foreign` is one of another host or container that shares the
 * directory: whether it lives cannot be asked.
 */
export type Liveness = 'alive' | 'dead' | 'foreign';

/** Random identifiers may repeat, where the randomness is seeded; not this often. */
const ID_ATTEMPTS_MAX = 100;

/**
 * Makes this process an owner: a file under an id that no other file has, written durably before
 * anything is owned. A lock whose owner cannot be read could never be broken.
 */
export async function registerOwner(directory: string, random: Random): Promise<Owner> {
  const [place, boot, found] = await Promise.all([
    readPlace(),
    readBoot(),
    readProcess(process.pid),
  ]);
  const { pid } = process;
  for (let attempt = 1; ; attempt++) {
    const id = `${pid}-${random.id()}`;
    const owner: Owner = { id, pid, place, boot, started: found?.started ?? '' };
    try {
      await writeFile(join(directory, id), JSON.stringify(owner), { flag: 'wx', flush: true });
      return owner;
    } catch (error) {
      if (!isPresent(error) || attempt === ID_ATTEMPTS_MAX) throw error;
    }
  }
}

/** The owner written in a file; undefined if there is no such file. Throws STORE_CORRUPT. */
export async function readOwner(path: string): Promise<Owner | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as Owner;
  } catch (cause) {
    throw corruptFile(path, 'the file of an owner is damaged', cause);
  }
}

/** Whether an owner's process still runs, as seen by `self`. */
export async function livenessOf(owner: Owner, self: Owner): Promise<Liveness> {
  if (owner.place !== self.place) return 'foreign';
  if (owner.boot !== self.boot) return 'dead';
  if (!processExists(owner.pid)) return 'dead';
  if (owner.started === '') return 'alive';
  const found = await readProcess(owner.pid);
  // A killed process whose parent has not asked for it yet is there, and will never do anything.
  return found !== undefined && found.started === owner.started && !found.defunct
    ? 'alive'
    : 'dead';
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it exists and belongs to somebody else.
    return systemErrorCode(error) !== 'ESRCH';
  }
}

/** proc(5): the state is the third field, the start time in clock ticks since boot the 22nd. */
async function readProcess(
  pid: number,
): Promise<{ readonly started: string; readonly defunct: boolean } | undefined> {
  const text = await readIfPresent(`/proc/${pid}/stat`);
  // The second field is the program's name in brackets, which may itself hold brackets and spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state = '', started = ''] = [fields[0], fields[19]];
  return text === '' ? undefined : { started, defunct: state === 'Z' || state === 'X' };
}

async function readPlace(): Promise<string> {
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '');
  return `${hostname()} ${namespace}`;
}

async function readBoot(): Promise<string> {
  return (await readIfPresent('/proc/sys/kernel/random/boot_id')).trim();
}

async function readIfPresent(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
