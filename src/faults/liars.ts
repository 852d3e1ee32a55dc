export { eventsLiars } from './liars-events.ts';
export { keyValueLiars } from './liars-key-value.ts';
export { leaseLiars, ledgerLiars } from './liars-ledger.ts';
export { logLiars } from './liars-log.ts';
export { objectsLiars } from './liars-objects.ts';
export { scanLiars } from './liars-scan.ts';
export type { Liar } from './liars-shape.ts';
export { sinkLiars } from './liars-sink.ts';
export { sourceLiars } from './liars-source.ts';
