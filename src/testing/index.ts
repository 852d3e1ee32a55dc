export {
  created,
  deleted,
  existing,
  updated,
  type GivenRow,
  type WrittenRow,
} from './source-rows.ts';
export { decision, type Decided, type DecisionStory } from './decision.ts';
export { readsGolden, recordGolden } from './golden.ts';
export { projection, type Outcome, type ParkedRow, type ProjectionStory } from './projection.ts';
export { givenSaga, type PlayedSaga, type SagaStory } from './saga.ts';
export { expectNoNPlusOne } from './queries.ts';
export {
  createMemoryState,
  memory,
  memoryLedger,
  memoryLog,
  type MemoryState,
  type MemoryStore,
} from '../stores/memory/index.ts';
