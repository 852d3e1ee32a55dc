import { describe, test } from 'vitest';
import { effectsConformance } from '../../src/conformance/effects.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { createMemoryState, memory } from '../../src/stores/memory/index.ts';
import { entrySubject, objectSubject } from './effects-subjects.ts';

const context = { name: 'memory', clock: systemClock, random: systemRandom };

async function opened() {
  const state = createMemoryState();
  let store = await memory({ state }).open(context);
  return {
    store: () => store,
    reopen: async () => {
      store.crash();
      store = await memory({ state }).open(context);
    },
    dispose: () => store.close(),
  };
}

describe('effects of entries in memory', () => {
  effectsConformance({
    test,
    supports: {
      unit: 'entry',
      locks: false,
      resultBytesMax: 65_536,
      retentionMs: 30 * 24 * 3_600_000,
    },
    open: async () => {
      const { store, ...rest } = await opened();
      return entrySubject({ port: () => store().keyValue, ...rest });
    },
  });
});

describe('effects of objects in memory', () => {
  effectsConformance({
    test,
    supports: {
      unit: 'object',
      locks: false,
      resultBytesMax: 1_024,
      retentionMs: 30 * 24 * 3_600_000,
    },
    open: async () => {
      const { store, ...rest } = await opened();
      return objectSubject({ port: () => store().objects, ...rest });
    },
  });
});
