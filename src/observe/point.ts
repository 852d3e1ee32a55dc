/**
 * The crash points: places between two durable effects where a process may die. The names are the
 * public map of the algorithm; the crash sweep kills a real process at each one.
 */
export const crashPoints = [
  'capture.after-publication-before-slot',
  'capture.after-record-before-slot',
  'capture.after-slot-before-place',
  'capture.after-slot-before-tables',
  'capture.after-claim-before-epoch',
  'capture.after-read-before-append',
  'capture.after-append-before-acknowledge',
  'capture.after-ledger-before-acknowledge',
  'capture.after-mark-before-confirm',
  'capture.after-acknowledge',
  'log.before-write',
  'log.after-write-before-sync',
  'log.after-sync-before-resolve',
  'log.after-new-segment',
  'log.before-segment-delete',
  'sink.before-apply',
  'sink.mid-apply',
  'sink.after-apply-before-checkpoint',
  'sink.after-checkpoint-before-commit',
  'sink.after-send-before-answer',
  'sink.after-commit',
  'sink.mid-reset',
  'flow.after-park-before-apply',
  'flow.after-apply-before-progress',
  'flow.after-snapshot-chunk',
  'flow.after-snapshot-before-stream',
  'rebuild.after-build-before-switch',
  'rebuild.after-switch-before-forget',
  'ledger.before-commit',
  'ledger.after-send-before-answer',
  'ledger.after-commit-before-answer',
  'saga.after-start',
  'saga.after-claim',
  'saga.before-do',
  'saga.after-do-before-record',
  'saga.before-undo',
  'saga.after-undo-before-record',
  'saga.after-suspend',
  'saga.after-park',
  'saga.after-end',
  'events.before-commit',
  'events.after-send-before-answer',
  'events.after-commit-before-answer',
  'events.after-transaction-before-place',
  'effects.before-effect',
  'effects.before-commit',
  'effects.after-effect-before-answer',
  'command.before-append',
  'command.after-append-before-answer',
  'command.after-handling-before-kept',
] as const;

export type CrashPoint = (typeof crashPoints)[number];

/** Those between a process and a server, which nothing embedded passes. */
export const serverCrashPoints: readonly CrashPoint[] = [
  'capture.after-publication-before-slot',
  'capture.after-record-before-slot',
  'capture.after-slot-before-place',
  'capture.after-slot-before-tables',
  'capture.after-mark-before-confirm',
  'sink.after-send-before-answer',
  'sink.mid-reset',
  'ledger.after-send-before-answer',
];

const flowPoint = /^(?:capture|log|sink|flow|rebuild|ledger)\./;

/** Those of the patterns, which no flow passes: the tests of each pattern kill at its own. */
export const patternCrashPoints: readonly CrashPoint[] = crashPoints.filter(
  (name) => !flowPoint.test(name),
);

let armed: ((name: CrashPoint) => void) | undefined;

/** Marks a crash point. Free unless a test armed it; then it may kill the process or throw. */
export function point(name: CrashPoint): void {
  if (armed !== undefined) armed(name);
}

/** Arms every crash point with `handler`; undefined disarms. For tests and the simulator only. */
export function armPoints(handler: ((name: CrashPoint) => void) | undefined): void {
  armed = handler;
}
