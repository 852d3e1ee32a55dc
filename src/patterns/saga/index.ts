export { saga } from './builder.ts';
export {
  choreography,
  signalsSaga,
  startsSaga,
  type Reacted,
  type Reaction,
  type SagaTrigger,
} from './choreography.ts';
export { refused } from './refused.ts';
export { SagaEngine } from './engine.ts';
export type { SagaEngineOptions } from './engine.ts';
export type { ResultOptions, SagaHandle, Sagas, SignalOptions, StartSagaOptions } from './port.ts';
export type {
  CompensatableOptions,
  Duration,
  Probed,
  RetryPolicy,
  SagaDefinition,
  SagaIdentity,
  SagaOptions,
  StepClass,
  StepContext,
  StepOptions,
  UndoContext,
} from './definition.ts';
export type { ErrorRecord, JournalEntry, SagaEnd, SagaOperation } from './journal.ts';
export type { Decision } from './operations.ts';
export type { SagaEvent, SagaObserver } from './observer.ts';
export type { SagaFailure, SagaOutcome } from './outcome.ts';
export type { SagaStatus } from './record.ts';
export type { SagaSchedule } from './schedule.ts';
export type { ListOptions, SagaSummary, SagaView } from './view.ts';
