export type { BreakerState } from './breaker.ts';
export type { Call, Read } from './call.ts';
export type { GuardCounts } from './core.ts';
export {
  fallback,
  lastGood,
  lastGoodIn,
  type Fallback,
  type LastGood,
  type Recalled,
} from './fallback.ts';
export { gather, type Gathered, type GatherOptions, type PartResult } from './gather.ts';
export { guard, guardStore, type CallOptions, type Guard, type GuardStats } from './guard.ts';
export type {
  BreakerSettings,
  Duration,
  GuardOptions,
  HedgeSettings,
  RetrySettings,
} from './guard-options.ts';
export type { Known } from './known.ts';
export {
  optional,
  required,
  type Instead,
  type NeedsOf,
  type Part,
  type PartCall,
  type PartOptions,
  type PartRead,
  type Parts,
  type ValuesOf,
} from './part.ts';
export type { Reason, ReasonKind } from './reason.ts';
export { remainingMs, withDeadline, withPriority, type Priority } from '../../runtime/budget.ts';
export type { Batch, BatchAnswers } from './batch-answers.ts';
export { loader, type Loader, type LoaderOptions } from './loader.ts';
export type { MemoKey } from './memo.ts';
export { findingText, type Finding } from './findings.ts';
export {
  requestLog,
  type FindingCount,
  type QueryRecord,
  type RequestLog,
  type RequestLogOptions,
} from './request-log.ts';
export { watchClient } from './watch.ts';
export {
  join,
  type Driving,
  type Join,
  type JoinedRow,
  type JoinOptions,
  type JoinPage,
  type JoinRows,
  type Lookup,
  type Lookups,
} from './join.ts';
export { explainText, type JoinPlan, type JoinStep } from './join-plan.ts';
export type { JoinCost, JoinReport } from './join-run.ts';
export { trinoCatalogs, type TrinoStore, type TrinoSystem } from './trino.ts';
