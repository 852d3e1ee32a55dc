import { describe, test } from 'vitest';
import { objectsConformance } from '../../src/conformance/objects.ts';
import { memoryObjectsSupports } from '../../src/stores/memory/objects.ts';
import { memoryObjects } from './memory-subjects.ts';

describe('the memory objects', () => {
  objectsConformance({ test, supports: memoryObjectsSupports, open: memoryObjects });
});
