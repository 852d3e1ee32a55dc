import { TallyError } from '../core/errors.ts';
import { armPoints, crashPoints, type CrashPoint } from './point.ts';

/**
 * Arms one crash point of this thread from the variable TALLY_CRASH: `name`, or `name:count` for
 * the count-th time it is reached. The process then ends by SIGKILL: no handler runs, nothing is
 * flushed, exactly as when the machine loses it. Does nothing if the variable is not set.
 *
 * Each thread has its own points, so a worker thread calls this for itself.
 * Throws CONFIG_INVALID for a point that does not exist or a count that is not a whole number from 1.
 */
export function armFromEnvironment(env: Readonly<Record<string, string | undefined>>): void {
  const wanted = env['TALLY_CRASH'];
  if (wanted === undefined || wanted === '') return;
  const { name, count } = parse(wanted);
  let reached = 0;
  armPoints((here) => {
    if (here !== name) return;
    reached += 1;
    if (reached === count) process.kill(process.pid, 'SIGKILL');
  });
}

function parse(wanted: string): { readonly name: CrashPoint; readonly count: number } {
  const [text = '', times = '1', ...rest] = wanted.split(':');
  const name = crashPoints.find((candidate) => candidate === text);
  const count = Number(times);
  if (name === undefined || rest.length > 0 || !Number.isSafeInteger(count) || count < 1) {
    throw new TallyError('CONFIG_INVALID', {
      what: `the crash point ${JSON.stringify(wanted)} does not exist`,
      where: 'environment variable TALLY_CRASH',
      mend: `set it to a name, or name:count, out of ${crashPoints.join(', ')}`,
    });
  }
  return { name, count };
}
