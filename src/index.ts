export {
  tally,
  type TallyApp,
  type TallyOptions,
  type Stores,
  type LogDefinition,
} from './app/definition.ts';
export { open, type OpenOptions } from './app/open.ts';
export type { OpenApp, Read, ReadOptions, Written } from './app/open-app.ts';
export type { Duration, FreshnessOptions } from './app/freshness.ts';
export type { AppStatus, FlowStatus, LaneStatus } from './app/status.ts';
export {
  flow,
  put,
  remove,
  type Fold,
  type FoldState,
  type FlowDefinition,
  type FlowOptions,
  type Projected,
  type Put,
  type RowProjection,
} from './flow/definition.ts';
export { invalidation, type InvalidationOptions } from './flow/invalidation.ts';
export type { Behind, Freshness } from './flow/barrier.ts';
export type { Change, Operation } from './core/change.ts';
export type { Key, Row, Scalar, Value } from './core/row.ts';
export { errorCodes, isTallyError, TallyError, type ErrorCode } from './core/errors.ts';
export { coversEvidence, mergeEvidence, noEvidence, type Evidence } from './core/evidence.ts';
export { currentEvidence, runInContext, withEvidence } from './runtime/context.ts';
export type {
  AllRange,
  Appended,
  EventPage,
  EventStore,
  EventStoreSupports,
  ExpectedVersion,
  FollowRange,
  NewEvent,
  Placed,
  StoredEvent,
  StreamAppend,
  StreamRange,
} from './ports/events.ts';
export type { LedgerDefinition } from './ports/ledger.ts';
export type { StoreDefinition } from './ports/store.ts';
export { decodeEvidence, encodeEvidence } from './core/evidence-token.ts';
