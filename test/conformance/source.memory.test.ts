import { describe, test } from 'vitest';
import {
  sourceConformance,
  sourceTables,
  type SourceStep,
  type SourceSubject,
} from '../../src/conformance/source.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  createMemoryState,
  memory,
  type MemoryTransaction,
} from '../../src/stores/memory/index.ts';
import { memorySourceSupports } from '../../src/stores/memory/source.ts';

const context = { name: 'orders', clock: systemClock, random: systemRandom };

const tables = Object.fromEntries(
  sourceTables.map(({ name, key, columns }) => [name, { key, columns: Object.keys(columns) }]),
);

interface MemorySubject extends SourceSubject {
  readonly state: ReturnType<typeof createMemoryState>;
}

function run(tx: MemoryTransaction, step: SourceStep): void {
  if (step.kind === 'insert') tx.insert(step.table, step.row);
  else if (step.kind === 'update') tx.update(step.table, step.key, step.row);
  else tx.delete(step.table, step.key);
}

async function open(): Promise<MemorySubject> {
  const state = createMemoryState();
  const definition = memory({ state, tables });
  let store = await definition.open(context);
  return {
    state,
    get source() {
      return store.source;
    },
    run: (tx: unknown, step) => run(tx as MemoryTransaction, step),
    reopen: async () => {
      store.crash();
      store = await definition.open(context);
    },
    dispose: () => store.close(),
  };
}

describe('the memory source', () => {
  sourceConformance({
    test,
    supports: memorySourceSupports,
    open,
    clock: systemClock,
    kinds: ['text', 'whole', 'fraction', 'big', 'bytes', 'boolean', 'list', 'object'],
    foreignWrite: async (subject, steps) => {
      const other = await memory({ state: (subject as MemorySubject).state }).open(context);
      await other.source.write((tx) => {
        for (const step of steps) run(tx, step);
      });
      await other.close();
    },
    createKeylessTable: async (subject, name) => {
      const other = await memory({
        state: (subject as MemorySubject).state,
        tables: { [name]: { key: [] } },
      }).open(context);
      await other.close();
    },
  });
});
