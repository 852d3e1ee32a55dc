export { catalogue, factsOf, findSystem, systemNames, type NamedFact } from './catalogue.ts';
export {
  decide,
  NEW_STORE_POINTS,
  type Decision,
  type Eliminated,
  type Ranked,
  type Relaxation,
} from './decide.ts';
export { changesOf, flipsOf, answerOf, type Change, type Flip } from './sensitivity.ts';
export { checkWorkload, type Workload } from './workload.ts';
export { costOf, type Cost } from './money.ts';
export { criteria, weights, type Criterion, type Points } from './score.ts';
export { sources, type Source, type SourceId } from './sources.ts';
export { compassPage } from './compass.ts';
export type { Confidence, Fact } from './fact.ts';
export type { Candidate, Requirement } from './requirements.ts';
export type { Configuration, Price, Stretch, SystemProfile, TestReport } from './system.ts';
