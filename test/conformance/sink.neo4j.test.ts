import { describe, test } from 'vitest';
import { sinkConformance } from '../../src/conformance/sink.ts';
import { sinkSupports } from '../../src/stores/neo4j/index.ts';
import { hasNeo4j } from '../support/neo4j.ts';
import { openTargets } from './neo4j-targets.ts';

describe.skipIf(!hasNeo4j).each(['nodes', 'relationships'] as const)(
  'neo4j, rows as %s',
  (shape) => {
    const rowBytesMax = 65_536;
    sinkConformance({
      test,
      supports: { ...sinkSupports, rowBytesMax },
      open: () => openTargets(shape, rowBytesMax),
    });
  },
);
