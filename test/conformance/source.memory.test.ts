import { describe, test } from 'vitest';
import { sourceConformance } from '../../src/conformance/source.ts';
import { memorySourceSuite } from './memory-subjects.ts';

describe('the memory source', () => {
  sourceConformance({ ...memorySourceSuite, test });
});
