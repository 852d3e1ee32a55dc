import { readFileSync } from 'node:fs';

/** The holders that this process has open: its own are alive as long as they are not closed. */
const open = new Set<string>();

/** Names a holder of leases so that other processes of this machine can tell whether its process is still there. */
export function openHolder(id: string): string {
  const holder = `${process.pid} ${startOf(process.pid)} ${id}`;
  open.add(holder);
  return holder;
}

/** From now on the holder is dead, whatever leases it has. */
export function closeHolder(holder: string): void {
  open.delete(holder);
}

/**
 * Whether a holder is gone: closed, or its process has ended, or another one has its number. A process that is stopped or
 * busy is not gone. All processes of one file are on one machine: SQLite's log in shared memory is not for network drives.
 */
export function isDeadHolder(holder: string): boolean {
  const [pid = '', start = ''] = holder.split(' ');
  if (Number(pid) === process.pid && start === startOf(process.pid)) return !open.has(holder);
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  const now = startOf(Number(pid));
  return now !== '-' && start !== '-' && now !== start;
}

/** When a process was started, in clock ticks since boot; `-` where the system does not say. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended: only its parent has not asked how.
    return fields[0] === 'Z' ? 'ended' : (fields[19] ?? '-');
  } catch {
    return '-';
  }
}
