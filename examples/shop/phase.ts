import { openSync, readFileSync, writeSync } from 'node:fs';

/** Longer than the name of any phase. */
const PHASE_BYTES = 64;

/** What the worker is doing, for who kills it: one small write to a file, which survives SIGKILL. */
export function trackPhase(file: string): (phase: string) => void {
  const handle = openSync(file, 'w');
  const enter = (phase: string): void => {
    writeSync(handle, phase.padEnd(PHASE_BYTES), 0);
  };
  enter('starting');
  return enter;
}

/** The phase that a worker was in when it ended. */
export function readPhase(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim() || 'starting';
  } catch {
    return 'starting';
  }
}
