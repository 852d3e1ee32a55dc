import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** Names a process so that another one on the same machine can tell whether it is still there. */
export interface Owner {
  readonly host: string;
  readonly pid: number;
  /** When the process was started, as the system counts it: a pid is used again. Empty if it cannot be read. */
  readonly start: string;
  /** Tells apart what one process has opened twice: each is a worker of its own. */
  readonly instance: string;
}

/**
 * An owner text of this process, another one at each call. Otherwise: 1. an application is opened twice in one
 * process  2. the second takes the first one's leases as its own, under the same epoch  3. no fence tells their
 * batches apart.
 */
export function ownProcess(): string {
  const owner: Owner = {
    host: hostname(),
    pid: process.pid,
    start: startOf(process.pid),
    instance: randomUUID(),
  };
  return JSON.stringify(owner);
}

/**
 * Whether the owner is certainly dead: of this host, and its process is gone or another one has its pid.
 * Anything unclear is alive: its lease then runs out by itself.
 */
export function isDeadProcess(ownerText: string): boolean {
  let owner: Partial<Owner> | null;
  try {
    owner = JSON.parse(ownerText) as Partial<Owner> | null;
  } catch {
    return false;
  }
  if (
    owner === null ||
    owner.host !== hostname() ||
    typeof owner.pid !== 'number' ||
    !Number.isInteger(owner.pid) ||
    owner.pid <= 0
  )
    return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  const start = startOf(owner.pid);
  return start !== '' && owner.start !== undefined && owner.start !== '' && start !== owner.start;
}

/** Field 22 of /proc/PID/stat, in clock ticks since boot; empty where there is no such file. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended: only its parent has not asked how.
    return fields[0] === 'Z' ? 'ended' : (fields[19] ?? '');
  } catch {
    return '';
  }
}
