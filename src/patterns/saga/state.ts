import { type Evidence, mergeEvidence, noEvidence } from '../../core/evidence.ts';
import { decodeEvidence } from '../../core/evidence-token.ts';
import { unreachable } from '../../core/errors.ts';
import type { Value } from '../../core/row.ts';
import type { ErrorRecord, FailureReason, JournalEntry, SagaEnd } from './journal.ts';

/** How one step stands. */
export interface StepState {
  /** Attempts that were begun, as far as it is recorded. */
  attempts: number;
  /**
   * `unknown`: begun, and nobody knows whether it took effect. `refused`: certainly without effect. `skipped`: a
   * person said to go on without it.
   */
  outcome: 'none' | 'unknown' | 'done' | 'refused' | 'skipped';
  result: Value | undefined;
  error: ErrorRecord | undefined;
  retryAtMs: number | undefined;
  dueAtMs: number | undefined;
  childId: string | undefined;
  undone: boolean;
  undoAttempts: number;
  undoRetryAtMs: number | undefined;
}

/** What is known of a saga: what its journal adds up to. */
export interface SagaState {
  input: Value | undefined;
  evidence: Evidence;
  direction: 'forward' | 'back';
  failure:
    | { readonly why: FailureReason; readonly path?: string; readonly error: ErrorRecord }
    | undefined;
  /** Past the point of no return: it cannot be cancelled, and no deadline turns it back. */
  committed: boolean;
  parked:
    | {
        readonly path: string;
        readonly during: 'do' | 'undo';
        readonly error: ErrorRecord;
        readonly atMs: number;
      }
    | undefined;
  end: SagaEnd | undefined;
  readonly steps: Map<string, StepState>;
  readonly choices: Map<string, string>;
  readonly loops: Map<string, readonly Value[]>;
  readonly signalIds: Set<string>;
  /** For the planner: how many rounds of a loop, from the first, are done; how many are still to be undone. */
  readonly roundsDone: Map<string, number>;
  readonly roundsToUndo: Map<string, number>;
}

/** The state before anything happened. */
export function emptyState(): SagaState {
  return {
    input: undefined,
    evidence: noEvidence,
    direction: 'forward',
    failure: undefined,
    committed: false,
    parked: undefined,
    end: undefined,
    steps: new Map(),
    choices: new Map(),
    loops: new Map(),
    signalIds: new Set(),
    roundsDone: new Map(),
    roundsToUndo: new Map(),
  };
}

/** How the step at `path` stands; a fresh one is added if nothing is known. */
export function stepState(state: SagaState, path: string): StepState {
  const known = state.steps.get(path);
  if (known !== undefined) return known;
  const fresh: StepState = {
    attempts: 0,
    outcome: 'none',
    result: undefined,
    error: undefined,
    retryAtMs: undefined,
    dueAtMs: undefined,
    childId: undefined,
    undone: false,
    undoAttempts: 0,
    undoRetryAtMs: undefined,
  };
  state.steps.set(path, fresh);
  return fresh;
}

/** Adds one entry to what is known. Changes `state` in place: journals may be long. */
export function applyEntry(state: SagaState, entry: JournalEntry): void {
  if ('commits' in entry && entry.commits) state.committed = true;
  if ('evidence' in entry && entry.evidence !== undefined)
    state.evidence = mergeEvidence(state.evidence, decodeEvidence(entry.evidence));
  switch (entry.kind) {
    case 'started':
      state.input = entry.input;
      return;
    case 'taken':
      for (const path of entry.interrupted) interrupt(stepState(state, path));
      return;
    case 'done':
    case 'failed':
    case 'waiting':
    case 'undone':
    case 'undo-failed':
      applyToStep(state, stepState(state, entry.path), entry);
      return;
    case 'chosen':
      state.choices.set(entry.path, entry.branch);
      return;
    case 'items':
      state.loops.set(entry.path, entry.items);
      return;
    case 'failing':
      state.direction = 'back';
      state.failure = {
        why: entry.why,
        error: entry.error,
        ...(entry.path === undefined ? {} : { path: entry.path }),
      };
      return;
    case 'cancel-refused':
      return;
    case 'parked': {
      const { path, during, error, atMs } = entry;
      state.parked = { path, during, error, atMs };
      return;
    }
    case 'operated':
      operate(state, entry);
      return;
    case 'ended':
      state.end = entry.end;
      return;
    default:
      return unreachable(entry);
  }
}

type StepEntry = Extract<
  JournalEntry,
  { kind: 'done' | 'failed' | 'waiting' | 'undone' | 'undo-failed' }
>;

function applyToStep(state: SagaState, step: StepState, entry: StepEntry): void {
  switch (entry.kind) {
    case 'done':
      step.attempts = entry.attempt;
      step.outcome = 'done';
      step.result = entry.result;
      if (entry.signalId !== undefined) state.signalIds.add(entry.signalId);
      return;
    case 'failed':
      step.attempts = entry.attempt;
      step.outcome = entry.next === 'refused' ? 'refused' : 'unknown';
      step.error = entry.error;
      step.retryAtMs = entry.retryAtMs;
      return;
    case 'waiting':
      step.dueAtMs = entry.dueAtMs;
      step.childId = entry.childId;
      return;
    case 'undone':
      step.undoAttempts = entry.attempt;
      step.undone = true;
      return;
    case 'undo-failed':
      step.undoAttempts = entry.attempt;
      step.undoRetryAtMs = entry.retryAtMs;
      step.error = entry.error;
      return;
    default:
      return unreachable(entry);
  }
}

function interrupt(step: StepState): void {
  step.attempts += 1;
  step.outcome = 'unknown';
  step.retryAtMs = undefined;
}

function operate(state: SagaState, entry: Extract<JournalEntry, { kind: 'operated' }>): void {
  const { parked } = state;
  state.parked = undefined;
  const step = stepState(state, entry.path);
  switch (entry.operation) {
    case 'retry':
      step.attempts = 0;
      step.retryAtMs = undefined;
      step.undoAttempts = 0;
      step.undoRetryAtMs = undefined;
      return;
    case 'skip':
      if (parked?.during === 'undo') step.undone = true;
      else step.outcome = 'skipped';
      return;
    case 'mark':
      if (parked?.during === 'undo') {
        step.undone = true;
        return;
      }
      step.outcome = entry.took === 'none' ? 'refused' : 'done';
      step.result = entry.result;
      return;
    case 'abandon':
      return;
    default:
      return unreachable(entry.operation);
  }
}
