import { isThere, sharedServer, urlOf } from './shared.ts';

const neo4j = await sharedServer('neo4j');

/** Whether a Neo4j can be had: `describe.skipIf(!hasNeo4j)`. With TALLY_REQUIRE_SERVERS=1 a missing one fails instead. */
export const hasNeo4j: boolean = isThere('Neo4j', neo4j);

/** The Neo4j that all tests of this run share. Take labels and a prefix of your own there: `freshPrefix`. */
export function neo4jUrl(): string {
  return urlOf('Neo4j', neo4j);
}
