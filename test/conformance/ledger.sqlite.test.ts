import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { leaseConformance } from '../../src/conformance/leases.ts';
import type { LedgerSuite } from '../../src/conformance/ledger-harness.ts';
import { ledgerConformance } from '../../src/conformance/ledger.ts';
import { must } from '../../src/core/errors.ts';
import type { Ledger } from '../../src/ports/ledger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { sqliteLedger } from '../../src/stores/sqlite/ledger/index.ts';

let directory: string;
let count = 0;
const files = new WeakMap<Ledger, string>();

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallystick-ledger-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function openFile(file: string): Promise<Ledger> {
  const context = { name: 'ledger', clock: systemClock, random: seededRandom(1) };
  const ledger = await sqliteLedger({ file }).open(context);
  files.set(ledger, file);
  return ledger;
}

const suite: LedgerSuite = {
  test: (name, run) => test(name, run),
  open: () => openFile(join(directory, `ledger-${++count}.db`)),
  reopen: (closed) => openFile(must(files.get(closed), 'the file of the closed ledger')),
};

describe('the ledger on SQLite', () => ledgerConformance(suite));
describe('the leases on SQLite', () => leaseConformance(suite));
