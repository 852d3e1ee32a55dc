import { describe, test } from 'vitest';
import { eventsConformance } from '../../src/conformance/events.ts';
import { memoryEventSupports } from '../../src/stores/memory/events.ts';
import { memoryEvents } from './memory-subjects.ts';

describe('the memory event store', () => {
  eventsConformance({ test, supports: memoryEventSupports, open: memoryEvents });
});
