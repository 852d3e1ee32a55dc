import { describe, test } from 'vitest';
import { keyValueConformance } from '../../src/conformance/key-value.ts';
import { memoryKeyValueSupports } from '../../src/stores/memory/key-value.ts';
import { memoryKeyValue } from './memory-subjects.ts';

describe('the memory key-value store', () => {
  keyValueConformance({ test, supports: memoryKeyValueSupports, open: memoryKeyValue });
});
