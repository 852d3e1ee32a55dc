export { neo4j, type NeoOptions, type NeoStore } from './store.ts';
export {
  node,
  relationship,
  type End,
  type NodeTarget,
  type RelationshipTarget,
  type TargetDeclaration,
} from './targets.ts';
export { sinkSupports } from './supports.ts';
export type { NeoDriver } from './driver.ts';
