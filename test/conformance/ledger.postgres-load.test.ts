import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres } from '../../servers/index.ts';
import { isTallyError, type ErrorCode } from '../../src/core/errors.ts';
import type { Ledger, LedgerOperation } from '../../src/ports/ledger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { createMemoryState, memoryLedger } from '../../src/stores/memory/index.ts';
import { postgresLedger } from '../../src/stores/postgres/ledger/index.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';

// Many workers on one ledger, each with connections of its own, as on many machines.

const WORKERS = 16;

function openLedger(url: string, schema: string): Promise<Ledger> {
  const context = { name: 'ledger', clock: systemClock, random: seededRandom(schema) };
  return postgresLedger({ url, schema, pool: { max: 2 } }).open(context);
}

async function openMany(url: string, schema: string): Promise<Ledger[]> {
  return Promise.all(Array.from({ length: WORKERS }, () => openLedger(url, schema)));
}

async function closeAll(ledgers: readonly Ledger[]): Promise<void> {
  await Promise.all(ledgers.map((ledger) => ledger.close()));
}

/** The code that a step was refused with, or undefined if it was committed. */
async function refusal(
  ledger: Ledger,
  step: readonly LedgerOperation[],
  ...expected: readonly ErrorCode[]
): Promise<ErrorCode | undefined> {
  try {
    await ledger.commit(step);
    return undefined;
  } catch (error) {
    if (!isTallyError(error, ...expected)) throw error;
    return error.code;
  }
}

describe.skipIf(!hasPostgres)('sixteen workers on one ledger in PostgreSQL', () => {
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
  });

  test('open the same new schema at the same time', async () => {
    const ledgers = await openMany(database.url, 'opened_at_once');
    const put = { kind: 'put', space: 's', key: 'k', value: 'x', ifVersion: 0 } as const;
    const refused = await Promise.all(
      ledgers.map((ledger) => refusal(ledger, [put], 'LEDGER_CONFLICT')),
    );
    expect(refused.filter((code) => code === undefined)).toHaveLength(1);
    await closeAll(ledgers);
  });

  test('hold a lease one at a time, and never write under an epoch that has passed', async () => {
    const ledgers = await openMany(database.url, 'lease');
    const rounds = 6;
    const epochs: number[] = [];
    const worker = async (ledger: Ledger, owner: string): Promise<void> => {
      for (let held = 0; held < rounds;) {
        const acquire = { kind: 'acquire', lease: 'one', owner, ttlMs: 1_000, nowMs: 0 } as const;
        let epoch = 0;
        try {
          [epoch = 0] = await ledger.commit([acquire]);
        } catch (error) {
          if (!isTallyError(error, 'LEASE_HELD')) throw error;
          continue;
        }
        held += 1;
        epochs.push(epoch);
        const guard = { kind: 'guard', lease: 'one', epoch } as const;
        const count = await ledger.get('shared', 'count');
        const next = Number(count?.value ?? 0) + 1;
        await ledger.commit([
          guard,
          { kind: 'put', space: 'shared', key: 'count', value: String(next) },
          { kind: 'put', space: 'written', key: String(next).padStart(6, '0'), value: `${epoch}` },
        ]);
        await ledger.commit([{ kind: 'release', lease: 'one', epoch }]);
        const late = { kind: 'put', space: 'shared', key: 'count', value: 'late' } as const;
        expect(await refusal(ledger, [guard, late], 'FENCED_OUT')).toBe('FENCED_OUT');
      }
    };
    await Promise.all(ledgers.map((ledger, index) => worker(ledger, `worker ${index}`)));
    const [ledger] = ledgers;
    const written = (await ledger?.list('written'))?.map(({ value }) => Number(value));
    // One after the other without a gap: the unguarded count of each holder was right.
    expect(written).toHaveLength(WORKERS * rounds);
    expect(written).toEqual([...epochs].toSorted((left, right) => left - right));
    expect(new Set(epochs).size).toBe(epochs.length);
    await closeAll(ledgers);
  });

  test('move amounts between the same counters in any order without losing any', async () => {
    const ledgers = await openMany(database.url, 'counters');
    const random = seededRandom('counters');
    const keys = ['a', 'b', 'c', 'd', 'e'];
    const set = (key: string, value: number, ifVersion: number): LedgerOperation => ({
      kind: 'put',
      space: 'count',
      key,
      value: String(value),
      ifVersion,
    });
    const worker = async (ledger: Ledger): Promise<void> => {
      for (let moved = 0; moved < 6;) {
        const [from = '', to = ''] = keys.toSorted(() => random.next() - 0.5);
        const [left, right] = [await ledger.get('count', from), await ledger.get('count', to)];
        const step = [
          set(from, Number(left?.value ?? 0) - 1, left?.version ?? 0),
          set(to, Number(right?.value ?? 0) + 1, right?.version ?? 0),
          { kind: 'put', space: 'last', key: from, value: to },
          { kind: 'delete', space: 'last', key: to },
        ] as const;
        if ((await refusal(ledger, step, 'LEDGER_CONFLICT')) === undefined) moved += 1;
      }
    };
    // Two callers each, whose steps share commits.
    await Promise.all(ledgers.flatMap((ledger) => [worker(ledger), worker(ledger)]));
    const counts = await ledgers[0]?.list('count');
    const amounts = (counts ?? []).map(({ value }) => Number(value));
    expect(amounts.reduce((sum, amount) => sum + amount, 0)).toBe(0);
    await closeAll(ledgers);
  });

  test('write and delete the same new keys in any order, without one stopping another', async () => {
    const ledgers = await openMany(database.url, 'any_order');
    const random = seededRandom('any order');
    const worker = async (ledger: Ledger): Promise<void> => {
      for (let round = 0; round < 15; round += 1) {
        const keys = ['a', 'b', 'c', 'd', 'e', 'f'].toSorted(() => random.next() - 0.5);
        await ledger.commit(
          keys.map((key) =>
            random.next() < 0.5
              ? { kind: 'put', space: 's', key, value: 'x' }
              : { kind: 'delete', space: 's', key },
          ),
        );
      }
    };
    await Promise.all(ledgers.map((ledger) => worker(ledger)));
    await closeAll(ledgers);
  });

  test('take steps of thousands of records among small ones, whole or not at all', async () => {
    const ledgers = await openMany(database.url, 'large');
    const large = (owner: string, over: boolean): LedgerOperation[] =>
      Array.from({ length: 4_000 }, (_, index) => ({
        kind: 'put',
        space: 's',
        key: String(index),
        value: owner,
        ...(over && index === 3_999 ? { ifVersion: 1e9 } : {}),
      }));
    await Promise.all(
      ledgers.map(async (ledger, index) => {
        const refused = await refusal(
          ledger,
          large(`${index}`, index % 2 === 1),
          'LEDGER_CONFLICT',
        );
        expect(refused).toBe(index % 2 === 1 ? 'LEDGER_CONFLICT' : undefined);
        for (let round = 0; round < 10; round += 1)
          await ledger.commit([
            { kind: 'put', space: 'small', key: `${index}`, value: `${round}` },
          ]);
      }),
    );
    const owners = new Set((await ledgers[0]?.list('s'))?.map(({ value }) => value));
    expect(owners.size).toBe(1);
    expect(Number([...owners][0]) % 2).toBe(0);
    expect(await ledgers[0]?.list('small')).toHaveLength(WORKERS);
    await closeAll(ledgers);
  });

  test('does with any steps what the ledger in memory does', async () => {
    const random = seededRandom('any steps');
    const model = memoryLedger({ state: createMemoryState() });
    const ledger = await openLedger(database.url, 'any_steps');
    /** Versions that both gave out for the same write, by name. */
    const versions: (readonly [number, number])[] = [[0, 0]];
    for (let round = 0; round < 60; round += 1) {
      const pairs = Array.from({ length: 8 }, () =>
        Array.from({ length: 1 + Math.floor(random.next() * 4) }, () =>
          anyOperation(() => random.next(), versions),
        ),
      );
      const [expected, found] = await Promise.all([
        Promise.allSettled(pairs.map((step) => model.commit(step.map(([left]) => left)))),
        Promise.allSettled(pairs.map((step) => ledger.commit(step.map(([, right]) => right)))),
      ]);
      for (const [index, step] of pairs.entries()) {
        const [left, right] = [expected[index], found[index]];
        expect(right?.status, JSON.stringify(step)).toBe(left?.status);
        if (left?.status === 'rejected' && right?.status === 'rejected')
          expect((right.reason as { code: string }).code, JSON.stringify(step)).toBe(
            (left.reason as { code: string }).code,
          );
        if (left?.status !== 'fulfilled' || right?.status !== 'fulfilled') continue;
        for (const [at, [operation]] of step.entries()) {
          if (operation.kind === 'put') versions.push([left.value[at] ?? 0, right.value[at] ?? 0]);
          else expect(right.value[at], JSON.stringify(step)).toBe(left.value[at]);
        }
      }
      expect((await ledger.list('s')).map(({ key, value }) => [key, value])).toEqual(
        (await model.list('s')).map(({ key, value }) => [key, value]),
      );
      expect(await ledger.leases()).toEqual(await model.leases());
    }
    await ledger.close();
  });
});

/** An operation for either ledger; they give out other versions. */
function anyOperation(
  next: () => number,
  versions: readonly (readonly [number, number])[],
): readonly [LedgerOperation, LedgerOperation] {
  const one = <Item>(items: readonly Item[]): Item =>
    items[Math.floor(next() * items.length)] as Item;
  const key = one(['a', 'b', 'c']);
  const lease = one(['l', 'm']);
  const epoch = one([1, 2, 3, 4, 5, 6, 8, 12]);
  const nowMs = Math.floor(next() * 300);
  const over = next() < 0.4 ? [undefined, undefined] : one([...versions.slice(-12), [0, 0]]);
  const both = (operation: LedgerOperation) => [operation, operation] as const;
  const conditional = (at: 0 | 1): { ifVersion?: number } =>
    over[at] === undefined ? {} : { ifVersion: over[at] };
  switch (one(['put', 'put', 'put', 'delete', 'guard', 'acquire', 'acquire', 'renew', 'release'])) {
    case 'put': {
      const put = {
        kind: 'put',
        space: 's',
        key,
        value: String(Math.floor(next() * 1e6)),
      } as const;
      return [
        { ...put, ...conditional(0) },
        { ...put, ...conditional(1) },
      ];
    }
    case 'delete': {
      const remove = { kind: 'delete', space: 's', key } as const;
      return [
        { ...remove, ...conditional(0) },
        { ...remove, ...conditional(1) },
      ];
    }
    case 'acquire':
      return both({
        kind: 'acquire',
        lease,
        owner: one(['x', 'y']),
        ttlMs: 100,
        nowMs,
        ...(next() < 0.2 ? { breakOwner: one(['x', 'y']) } : {}),
        ...(next() < 0.2 ? { floor: epoch } : {}),
      });
    case 'guard':
      return both({ kind: 'guard', lease, epoch });
    case 'renew':
      return both({ kind: 'renew', lease, epoch, ttlMs: 100, nowMs });
    default:
      return both({ kind: 'release', lease, epoch });
  }
}

describe.skipIf(!hasPostgres)('a PostgreSQL server that is killed under load', () => {
  test('has every step that was acknowledged, whole, and the ledger goes on by itself', async () => {
    await using server = await startPostgres({ settings: { fsync: 'on' } });
    const ledgers = await Promise.all(
      Array.from({ length: 3 }, () => openLedger(server.url, 'killed')),
    );
    const acknowledged: string[] = [];
    const failures = new Set<string>();
    const ending = new AbortController();
    const caller = async (ledger: Ledger, name: string): Promise<void> => {
      for (let number = 0; !ending.signal.aborted; number += 1) {
        const key = `${name} ${number}`;
        try {
          await ledger.commit([
            { kind: 'put', space: 'left', key, value: key },
            { kind: 'put', space: 'right', key, value: key },
          ]);
          acknowledged.push(key);
        } catch (error) {
          if (!isTallyError(error) || !error.retryable) throw error;
          failures.add(error.code);
          await systemClock.sleep(20);
        }
      }
    };
    const callers = ledgers.flatMap((ledger, process) =>
      Array.from({ length: 8 }, (_, index) => caller(ledger, `${process}-${index}`)),
    );
    for (let kill = 0; kill < 3; kill += 1) {
      const before = acknowledged.length;
      while (acknowledged.length < before + 500) await systemClock.sleep(5);
      await server.kill();
      await server.restart();
    }
    const before = acknowledged.length;
    while (acknowledged.length < before + 100) await systemClock.sleep(5);
    ending.abort();
    await Promise.all(callers);
    const left = (await ledgers[0]?.list('left'))?.map(({ key }) => key) ?? [];
    const right = (await ledgers[0]?.list('right'))?.map(({ key }) => key) ?? [];
    expect(right).toEqual(left);
    const kept = new Set(left);
    expect(acknowledged.filter((key) => !kept.has(key))).toEqual([]);
    expect(failures.has('COMMIT_UNKNOWN')).toBe(true);
    await closeAll(ledgers);
  });
});
