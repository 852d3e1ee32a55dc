import type { Ledger, LedgerOperation } from '../ports/ledger.ts';
import type { Liar } from './liars-shape.ts';

/** Ledgers that each break one promise about records. */
export const ledgerLiars: Readonly<Record<string, Liar<Ledger>>> = {
  splitsSteps: {
    lie: 'commits the operations of a step one by one',
    caughtBy: 'leaves nothing of a step whose last operation is refused',
    wrap: (ledger) => ({
      ...delegate(ledger),
      commit: async (operations) => {
        const results: number[] = [];
        for (const operation of operations) results.push(...(await ledger.commit([operation])));
        return results;
      },
    }),
  },
  ignoresVersions: {
    lie: 'writes over a version that the caller did not expect',
    caughtBy: 'writes over the expected version only',
    wrap: (ledger) => ({
      ...delegate(ledger),
      commit: (operations) =>
        ledger.commit(
          operations.map((operation) => {
            if (operation.kind !== 'put') return operation;
            const { space, key, value } = operation;
            return { kind: 'put', space, key, value };
          }),
        ),
    }),
  },
};

/** Ledgers that each break one promise about leases. */
export const leaseLiars: Readonly<Record<string, Liar<Ledger>>> = {
  keepsTheEpoch: {
    lie: 'hands a lease over without a greater epoch',
    caughtBy: 'gives an expired lease to another worker under a greater epoch',
    wrap: (ledger) => ({
      ...delegate(ledger),
      commit: async (operations) => {
        const results = await ledger.commit(operations);
        return results.map((result, index) => (operations[index]?.kind === 'acquire' ? 1 : result));
      },
    }),
  },
  ignoresFloors: {
    lie: 'gives a lease under an epoch that the caller knows to have been given out',
    caughtBy: 'gives a lease under an epoch above the floor, and goes on from there',
    wrap: (ledger) => ({
      ...delegate(ledger),
      commit: (operations) =>
        ledger.commit(
          operations.map((operation) => {
            if (operation.kind !== 'acquire') return operation;
            const { floor: _, ...rest } = operation;
            return rest;
          }),
        ),
    }),
  },
  ignoresGuards: {
    lie: 'commits what a lost lease should have stopped',
    caughtBy: 'fences the write of a worker that lost its lease without knowing',
    wrap: (ledger) => ({
      ...delegate(ledger),
      commit: async (operations) => {
        const unguarded = operations.filter((operation) => operation.kind !== 'guard');
        const results = [...(await ledger.commit(unguarded))];
        return operations.map((operation: LedgerOperation) =>
          operation.kind === 'guard' ? 0 : (results.shift() ?? 0),
        );
      },
    }),
  },
  givesHeldLeases: {
    lie: 'gives a lease to whoever asks',
    caughtBy: 'refuses the lease while another worker holds it',
    wrap: (ledger) => ({
      ...delegate(ledger),
      commit: async (operations) => {
        const held = new Map((await ledger.leases()).map(({ lease, owner }) => [lease, owner]));
        return ledger.commit(
          operations.map((operation) => {
            const breakOwner = operation.kind === 'acquire' ? held.get(operation.lease) : undefined;
            return breakOwner === undefined ? operation : { ...operation, breakOwner };
          }),
        );
      },
    }),
  },
};

function delegate(ledger: Ledger): Ledger {
  return {
    supports: ledger.supports,
    commit: (operations) => ledger.commit(operations),
    get: (space, key) => ledger.get(space, key),
    list: (space, options) => ledger.list(space, options),
    leases: () => ledger.leases(),
    close: () => ledger.close(),
    [Symbol.asyncDispose]: () => ledger.close(),
  };
}
