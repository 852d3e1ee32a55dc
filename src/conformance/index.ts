export type { SuiteRunner } from './harness.ts';
export {
  sinkConformance,
  sinkTargets,
  type ColumnKind,
  type SinkConformanceOptions,
  type SinkSubject,
  type SuiteTable,
} from './sink.ts';
export { logConformance, type LogSuite } from './log.ts';
export { ledgerConformance } from './ledger.ts';
export { leaseConformance } from './leases.ts';
export type { LedgerSuite } from './ledger-harness.ts';
export {
  sourceConformance,
  sourceTables,
  type SourceConformanceOptions,
  type SourceStep,
  type SourceSubject,
} from './source.ts';
export {
  keyValueConformance,
  type KeyValueConformanceOptions,
  type KeyValueSubject,
} from './key-value.ts';
export {
  scanConformance,
  type KeyedRow,
  type ScanConformanceOptions,
  type ScanSubject,
} from './scan.ts';
export {
  objectsConformance,
  type ObjectsConformanceOptions,
  type ObjectsSubject,
} from './objects.ts';
export { cacheConformance, type CacheConformanceOptions, type CacheSubject } from './cache.ts';
export { eventsConformance, type EventsConformanceOptions, type EventsSubject } from './events.ts';
export {
  effectsConformance,
  type EffectsConformanceOptions,
  type EffectsSubject,
} from './effects.ts';
