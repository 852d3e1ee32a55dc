import { describe, test } from 'vitest';
import { sinkConformance, type SinkSubject } from '../../src/conformance/sink.ts';
import type { SinkSupports } from '../../src/ports/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { memorySinkSupports } from '../../src/stores/memory/sink.ts';
import { createMemoryState, memory } from '../../src/stores/memory/index.ts';

const context = { name: 'target', clock: systemClock, random: seededRandom(1) };

async function open(supports: SinkSupports): Promise<SinkSubject> {
  const definition = memory({ state: createMemoryState(), sink: supports });
  let store = await definition.open(context);
  return {
    get sink() {
      return store.sink;
    },
    read: async (target) => store.client.rows(target),
    reopen: async () => {
      store.crash();
      store = await definition.open(context);
    },
    dispose: () => store.close(),
  };
}

const whole: SinkSupports = { ...memorySinkSupports, rowBytesMax: 100_000 };
const reduced: SinkSupports = {
  ...whole,
  effect: 'fenced',
  ordinalFence: false,
  foldState: false,
  switchOver: false,
};

describe('the memory sink', () => {
  sinkConformance({ test, supports: whole, open: () => open(whole) });
});

describe('the memory sink, fenced and with nothing it need not have', () => {
  sinkConformance({ test, supports: reduced, open: () => open(reduced) });
});
