import { describe, test } from 'vitest';
import { leaseConformance } from '../../src/conformance/leases.ts';
import { ledgerConformance } from '../../src/conformance/ledger.ts';
import type { Ledger } from '../../src/ports/ledger.ts';
import {
  createMemoryState,
  memoryLedger,
  type MemoryState,
} from '../../src/stores/memory/index.ts';

const states = new WeakMap<Ledger, MemoryState>();

function open(state: MemoryState): Ledger {
  const ledger = memoryLedger({ state });
  states.set(ledger, state);
  return ledger;
}

const suite = {
  test,
  open: async (): Promise<Ledger> => open(createMemoryState()),
  reopen: async (closed: Ledger): Promise<Ledger> =>
    open(states.get(closed) ?? createMemoryState()),
};

describe('the memory ledger', () => {
  ledgerConformance(suite);
});

describe('the leases of the memory ledger', () => {
  leaseConformance(suite);
});

describe('the memory ledger that nobody holds the state of', () => {
  ledgerConformance({ test, open: async () => memoryLedger() });
});
