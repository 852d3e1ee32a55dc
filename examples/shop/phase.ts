import { openSync, readFileSync, writeSync } from 'node:fs';
import { armPoints } from 'tallystick/faults';

/** Longer than the name of any phase. */
const PHASE_BYTES = 64;

/**
 * Notes where this process is, for who kills it: the last crash point that it passed, a place between two
 * durable effects. One small write to a file, which survives SIGKILL.
 */
export function trackPhase(file: string): void {
  const handle = openSync(file, 'w');
  const enter = (phase: string): void => {
    writeSync(handle, phase.padEnd(PHASE_BYTES), 0);
  };
  enter('starting');
  armPoints(enter);
}

/** The phase that a worker was in when it ended. */
export function readPhase(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim() || 'starting';
  } catch {
    return 'starting';
  }
}
