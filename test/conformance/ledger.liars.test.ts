import { AssertionError } from 'node:assert';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LedgerSuite } from '../../src/conformance/ledger-harness.ts';
import { ledgerConformance } from '../../src/conformance/ledger.ts';
import { leaseConformance } from '../../src/conformance/leases.ts';
import type { Ledger, LedgerOperation, LedgerRecord } from '../../src/ports/ledger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { sqliteLedger } from '../../src/stores/sqlite/ledger/index.ts';

// The suites are tested too: each ledger here breaks one promise, and a named case must notice.

let directory: string;
let count = 0;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallystick-liar-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function openFile(file: string): Promise<Ledger> {
  const context = { name: 'liar', clock: systemClock, random: seededRandom(1) };
  return sqliteLedger({ file }).open(context);
}

/** The ledger with some of its methods replaced. */
function lying(honest: Ledger, lies: Partial<Ledger>): Ledger {
  return {
    supports: honest.supports,
    commit: (operations) => honest.commit(operations),
    get: (space, key) => honest.get(space, key),
    list: (space, options) => honest.list(space, options),
    leases: () => honest.leases(),
    close: () => honest.close(),
    [Symbol.asyncDispose]: () => honest.close(),
    ...lies,
  };
}

type Lie = (honest: Ledger) => Partial<Ledger>;

const ignoresVersions: Lie = (honest) => ({
  commit: (operations) =>
    honest.commit(
      operations.map((operation) =>
        operation.kind === 'put'
          ? { kind: 'put', space: operation.space, key: operation.key, value: operation.value }
          : operation,
      ),
    ),
});

const ignoresGuards: Lie = (honest) => ({
  commit: (operations) =>
    honest.commit(operations.filter((operation) => operation.kind !== 'guard')),
});

const commitsHalfSteps: Lie = (honest) => ({
  async commit(operations) {
    const results: number[] = [];
    for (const operation of operations) results.push(...(await honest.commit([operation])));
    return results;
  },
});

/** What is called in one tick becomes one step: the conflict of one is the conflict of all. */
const sharesConflicts: Lie = (honest) => {
  let together: LedgerOperation[] = [];
  let shared: Promise<readonly number[]> | undefined;
  return {
    async commit(operations) {
      const first = together.length;
      together.push(...operations);
      shared ??= Promise.resolve().then(() => {
        const all = together;
        together = [];
        shared = undefined;
        return honest.commit(all);
      });
      return (await shared).slice(first, first + operations.length);
    },
  };
};

/** Counts the versions of each key from one, also when it comes to life again. */
const countsVersionsPerKey: Lie = (honest) => {
  const versions = new Map<string, number>();
  const real = async (space: string, key: string, version: number): Promise<number> => {
    const record = await honest.get(space, key);
    const present = record === undefined ? 0 : (versions.get(key) ?? 0);
    return present === version ? (record?.version ?? 0) : Number.MAX_SAFE_INTEGER;
  };
  return {
    async commit([operation, ...rest]) {
      if (operation?.kind === 'delete') versions.delete(operation.key);
      if (operation?.kind !== 'put') return honest.commit(operation ? [operation, ...rest] : []);
      const { space, key, ifVersion } = operation;
      const over = ifVersion === undefined ? {} : { ifVersion: await real(space, key, ifVersion) };
      await honest.commit([{ ...operation, ...over }, ...rest]);
      versions.set(key, (versions.get(key) ?? 0) + 1);
      return [versions.get(key) ?? 0];
    },
  };
};

const keepsTheEpoch: Lie = (honest) => ({
  async commit(operations) {
    const results = await honest.commit(operations);
    return results.map((result, at) => (operations[at]?.kind === 'acquire' ? 1 : result));
  },
});

const breaksAnyLease: Lie = (honest) => ({
  async commit(operations) {
    const [held] = await honest.leases();
    return honest.commit(
      operations.map((operation) =>
        operation.kind === 'acquire' && held !== undefined
          ? { ...operation, breakOwner: held.owner }
          : operation,
      ),
    );
  },
});

const readsWhatItReadBefore: Lie = (honest) => {
  const seen = new Map<string, LedgerRecord>();
  return {
    async get(space, key) {
      const known = seen.get(`${space} ${key}`);
      const record = known ?? (await honest.get(space, key));
      if (record !== undefined) seen.set(`${space} ${key}`, record);
      return record;
    },
  };
};

const ordersByUnits: Lie = (honest) => ({
  async list(space, options) {
    const records = await honest.list(space, options);
    return records.toSorted((left, right) => (left.key < right.key ? -1 : 1));
  },
});

const matchesPatterns: Lie = (honest) => ({
  async list(space, { prefix = '', ...options } = {}) {
    const pattern = new RegExp(`^${prefix.replaceAll('_', '.')}`, 'u');
    return (await honest.list(space, options)).filter((record) => pattern.test(record.key));
  },
});

const forgetsAtTheEnd: Lie = () => ({});

test.each<[string, Lie, string]>([
  ['ignores expected versions', ignoresVersions, 'writes over the expected version only'],
  [
    'counts versions per key',
    countsVersionsPerKey,
    'never gives a deleted key one of its versions again',
  ],
  [
    'commits half steps',
    commitsHalfSteps,
    'leaves nothing of a step whose last operation is refused',
  ],
  [
    'lets one conflict abort the others',
    sharesConflicts,
    'rejects the one conflicting step of two hundred and commits the others',
  ],
  [
    'reads what it read before',
    readsWhatItReadBefore,
    'shows a read every commit that resolved before it',
  ],
  ['orders keys by UTF-16 units', ordersByUnits, 'lists in the byte order of the keys'],
  ['takes a prefix for a pattern', matchesPatterns, 'lists the keys with a prefix'],
  [
    'forgets at the end of the process',
    forgetsAtTheEnd,
    'has everything that was acknowledged when it is opened again',
  ],
  [
    'forgets the epochs of released leases',
    forgetsAtTheEnd,
    'goes on counting the epochs of a released lease when opened again',
  ],
  [
    'ignores guards',
    ignoresGuards,
    'fences the write of a worker that lost its lease without knowing',
  ],
  [
    'keeps the epoch when hands change',
    keepsTheEpoch,
    'gives an expired lease to another worker under a greater epoch',
  ],
  ['takes a lease from anybody', breaksAnyLease, 'refuses the lease while another worker holds it'],
])('a ledger that %s fails its case', async (_name, lie, failing) => {
  const cases = new Map<string, () => Promise<void>>();
  const openLiar = async (file: string): Promise<Ledger> => {
    const honest = await openFile(file);
    return lying(honest, lie(honest));
  };
  const suite: LedgerSuite = {
    test: (name, run) => cases.set(name, run),
    open: () => openLiar(join(directory, `${++count}.db`)),
    reopen: () => openLiar(join(directory, `${++count}.db`)),
  };
  ledgerConformance(suite);
  leaseConformance(suite);
  const run = cases.get(failing);
  expect(run, 'the case exists').toBeDefined();
  await expect(run?.()).rejects.toBeInstanceOf(AssertionError);
});
