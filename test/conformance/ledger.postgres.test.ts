import { afterAll, beforeAll, describe, test } from 'vitest';
import { leaseConformance } from '../../src/conformance/leases.ts';
import type { LedgerSuite } from '../../src/conformance/ledger-harness.ts';
import { ledgerConformance } from '../../src/conformance/ledger.ts';
import { must } from '../../src/core/errors.ts';
import type { Ledger } from '../../src/ports/ledger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { postgresLedger } from '../../src/stores/postgres/ledger/index.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';

let database: FreshDatabase;
let count = 0;
const schemas = new WeakMap<Ledger, string>();

async function openIn(schema: string): Promise<Ledger> {
  const context = { name: 'ledger', clock: systemClock, random: seededRandom(schema) };
  const ledger = await postgresLedger({ url: database.url, schema }).open(context);
  schemas.set(ledger, schema);
  return ledger;
}

const suite: LedgerSuite = {
  test: (name, run) => test(name, run),
  open: () => openIn(`ledger_${++count}`),
  reopen: (closed) => openIn(must(schemas.get(closed), 'the schema of the closed ledger')),
};

describe.skipIf(!hasPostgres)('on PostgreSQL', () => {
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
  });

  describe('the ledger', () => ledgerConformance(suite));
  describe('the leases', () => leaseConformance(suite));
});
