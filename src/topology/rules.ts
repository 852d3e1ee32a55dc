import type { Rule, RuleText } from './finding.ts';
import { callWithoutTimeout, syncChain, syncCycle } from './rules/calls.ts';
import {
  cacheWithoutOwner,
  dualWrite,
  searchAsSource,
  transactionWithoutSaga,
} from './rules/carriage.ts';
import { distributedJoin, sharedData, sharedStore } from './rules/ownership.ts';
import {
  blobInRowStore,
  itemTooLarge,
  staleOwnWrite,
  unboundedPartition,
  weakStore,
} from './rules/placement.ts';
import {
  queueAsDatabase,
  shortRetention,
  streamsWithoutOrder,
  unkeyedTopic,
} from './rules/streams.ts';
import { noRestoreEvidence, singlePointOfFailure } from './rules/survival.ts';

/** Every rule that reads a declaration, in the order in which findings are told. */
export const rules: readonly Rule[] = [
  sharedStore,
  sharedData,
  distributedJoin,
  syncChain,
  syncCycle,
  callWithoutTimeout,
  dualWrite,
  transactionWithoutSaga,
  cacheWithoutOwner,
  searchAsSource,
  streamsWithoutOrder,
  unkeyedTopic,
  queueAsDatabase,
  shortRetention,
  blobInRowStore,
  itemTooLarge,
  unboundedPartition,
  weakStore,
  staleOwnWrite,
  singlePointOfFailure,
  noRestoreEvidence,
];

/** An ignore that nothing needs any more. */
export const unusedIgnore: RuleText = {
  id: 'unused-ignore',
  severity: 'warning',
  about: 'An ignore matches no finding.',
  remedy: 'remove it',
  cost: 'it hides the finding when it comes back',
};
