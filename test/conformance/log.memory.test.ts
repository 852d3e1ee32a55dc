import { describe, test } from 'vitest';
import { logConformance } from '../../src/conformance/log.ts';
import type { Log } from '../../src/ports/log.ts';
import { createMemoryState, memoryLog, type MemoryState } from '../../src/stores/memory/index.ts';

const states = new WeakMap<Log, MemoryState>();

function open(state: MemoryState): Log {
  const log = memoryLog({ state });
  states.set(log, state);
  return log;
}

describe('the memory log', () => {
  logConformance({
    test,
    open: async () => open(createMemoryState()),
    reopen: async (log) => {
      await log.close();
      return open(states.get(log) ?? createMemoryState());
    },
    openBounded: async () => ({ log: memoryLog({ bytesMax: 10_000 }), recordsMax: 20 }),
  });
});
