export {
  aggregates,
  type Aggregate,
  type Aggregates,
  type AggregatesOptions,
  type Handled,
  type HandleOptions,
} from './aggregates.ts';
export {
  decider,
  isRefusal,
  refuse,
  type Decider,
  type DeciderOptions,
  type SnapshotPolicy,
} from './decider.ts';
export type { DataOf, DeciderTypes, DomainEvent, EventType, Upcast } from './event.ts';
export {
  dryRun,
  steps,
  type DryRun,
  type DryRunOptions,
  type Step,
  type StreamDifference,
} from './history.ts';
export {
  foldEvents,
  projectEvents,
  projectState,
  type ByType,
  type EventPlace,
} from './projections.ts';
export { publishEvents, type PublishOptions, type Topic } from './publish.ts';
export type { ReplayRange } from './replay.ts';
export {
  isForgotten,
  sealedEvents,
  type Forgotten,
  type SealedEvents,
  type SealedMembers,
  type SealOptions,
} from './sealed.ts';
export { keyValueSnapshots, type Snapshot, type Snapshots } from './snapshots.ts';
export type { EventTypes, WrittenEvent } from './upcast.ts';
export type { Decided, WithRows } from './with-rows.ts';
