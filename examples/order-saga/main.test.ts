import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { EffectKey } from 'tallystick/effects';
import { freshDatabase, freshRedis, hasPostgres, hasRedis } from '../../test/support/servers.ts';
import { openShop, type Place } from './app.ts';
import { check } from './check.ts';
import { lateOnes, type FaultKind } from './faults.ts';
import type { Order, Participant } from './order.ts';
import { plannedFaults, type PlannedFault } from './planned-faults.ts';
import { ended, runOrders, startWorker } from './run.ts';

const order: Order = { id: 'order-1', customer: 'ada', sku: 'tea', count: 2, total: 900 };
const patience = { timeout: '200ms', pause: '20ms' } as const;
const steps = ['reserve', 'charge', 'ship', 'confirm'] as const;
const undone = ['reserve', 'charge', 'ship'] as const;
/** Makes a saga go back from its very end. */
const refusal: PlannedFault = { step: 'confirm', during: 'do', kind: 'refuse', attempts: 1 };
/** As often as it is tried. */
const EVERY = 100;

interface Temporary extends AsyncDisposable {
  readonly place: Place;
}

async function temporary(): Promise<Temporary> {
  const dir = await mkdtemp(join(tmpdir(), 'tally-order-saga-'));
  const dispose = (): Promise<void> => rm(dir, { recursive: true, force: true });
  return { place: { dir }, [Symbol.asyncDispose]: dispose };
}

/** Everything that the stores hold agrees with what the saga says of itself. */
async function agrees(place: Place, status: string): Promise<void> {
  const checked = await check(place, [order], [{ id: order.id, status: status as 'completed' }]);
  expect(checked.problems).toEqual([]);
}

/** One order in this process, with what is planned to go wrong. */
async function ordered(plan: readonly PlannedFault[]): Promise<string> {
  await using at = await temporary();
  const faults = plannedFaults(plan);
  await using shop = await openShop(at.place, { prepare: true, run: true, faults, patience });
  const handle = await shop.sagas.start(shop.definition, { id: order.id, input: order });
  const { status } = await handle.result({ within: '60s' });
  await lateOnes();
  await agrees(at.place, status);
  return status;
}

const fault = (step: string, during: 'do' | 'undo', kind: FaultKind, attempts: number) => ({
  step,
  during,
  kind,
  attempts,
});

describe('whatever goes wrong with a step, the stores agree with its saga', () => {
  for (const step of steps) {
    test.concurrent(`${step} refuses: compensated`, async () => {
      expect(await ordered([fault(step, 'do', 'refuse', 1)])).toBe('compensated');
    });
    for (const kind of ['error-before', 'error-after', 'late'] as const)
      test.concurrent(`${step}, once ${kind}: completed`, { timeout: 60_000 }, async () => {
        expect(await ordered([fault(step, 'do', kind, 1)])).toBe('completed');
      });
    test.concurrent(
      `${step} never reached: compensated, or parked past which nothing may go`,
      async () => {
        const status = await ordered([fault(step, 'do', 'error-before', EVERY)]);
        expect(status).toBe(step === 'confirm' ? 'parked' : 'compensated');
      },
    );
    test.concurrent(`${step} done and never answered: found by asking`, async () => {
      expect(await ordered([fault(step, 'do', 'error-after', EVERY)])).toBe('completed');
    });
    test.concurrent(`${step} always late: an end all the same`, { timeout: 60_000 }, async () => {
      const status = await ordered([fault(step, 'do', 'late', EVERY)]);
      expect(['completed', 'compensated', 'parked']).toContain(status);
    });
  }
  for (const step of steps)
    test.concurrent(
      `${step} refuses while an earlier attempt is on its way: that one changes nothing`,
      { timeout: 60_000 },
      async () => {
        const plan = [fault(step, 'do', 'late', 1), fault(step, 'do', 'refuse', 2)];
        expect(await ordered(plan)).toBe('compensated');
      },
    );
  for (const step of undone) {
    for (const kind of ['error-before', 'error-after', 'late'] as const)
      test.concurrent(
        `undo of ${step}, once ${kind}: compensated`,
        { timeout: 60_000 },
        async () => {
          expect(await ordered([refusal, fault(step, 'undo', kind, 1)])).toBe('compensated');
        },
      );
    test.concurrent(
      `undo of ${step} never reached: parked for a person`,
      { timeout: 60_000 },
      async () => {
        expect(await ordered([refusal, fault(step, 'undo', 'error-before', EVERY)])).toBe('parked');
      },
    );
  }
});

/** One order whose worker is killed as planned; the next worker goes on with what is left of the plan. */
async function killed(crash: PlannedFault, rest: readonly PlannedFault[]): Promise<string> {
  await using at = await temporary();
  await using shop = await openShop(at.place, { prepare: true });
  const handle = await shop.sagas.start(shop.definition, { id: order.id, input: order });
  const first = startWorker({ place: at.place, patience, planned: [crash, ...rest] });
  expect(await ended(first)).toBe('SIGKILL');
  const second = startWorker({ place: at.place, patience, planned: rest });
  const { status } = await handle.result({ within: '60s' });
  second.stdin?.end();
  await ended(second);
  await agrees(at.place, status);
  return status;
}

describe('wherever its worker is killed, another one ends the saga', () => {
  for (const kind of ['crash-before', 'crash-after'] as const) {
    for (const step of steps)
      test.concurrent(`${step}, ${kind}: completed`, { timeout: 90_000 }, async () => {
        expect(await killed(fault(step, 'do', kind, 1), [])).toBe('completed');
      });
    for (const step of undone)
      test.concurrent(`undo of ${step}, ${kind}: compensated`, { timeout: 90_000 }, async () => {
        expect(await killed(fault(step, 'undo', kind, 1), [refusal])).toBe('compensated');
      });
  }
});

const participantOf = {
  reserve: 'inventory',
  charge: 'payments',
  ship: 'shipping',
  confirm: 'orders',
} as const;

/** A participant whose first call sleeps in front of its effect until it is woken. */
function asleep(during: 'do' | 'undo') {
  const entered = Promise.withResolvers<void>();
  const woken = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const late = async <Result>(effect: () => Promise<Result>): Promise<Result> => {
    entered.resolve();
    await woken.promise;
    try {
      return await effect();
    } finally {
      over.resolve();
    }
  };
  const participant = (honest: Participant): Participant => ({
    ...honest,
    [during]: (key: EffectKey, wanted: Order) =>
      late(() => honest[during](key, wanted) as Promise<void>),
  });
  return { participant, entered: entered.promise, wake: woken.resolve, over: over.promise };
}

/** A worker sleeps in front of an effect while another one takes its saga over and ends it; then it wakes up. */
async function takenOver(
  step: (typeof steps)[number],
  during: 'do' | 'undo',
  plan: readonly PlannedFault[],
  sleeper: readonly PlannedFault[] = plan,
): Promise<string> {
  await using at = await temporary();
  const name = participantOf[step];
  const sleep = asleep(during);
  await using zombie = await openShop(at.place, {
    prepare: true,
    run: true,
    faults: plannedFaults(sleeper),
    patience: { timeout: '60s', pause: '20ms' },
    wrap: (all) => ({ ...all, [name]: sleep.participant(all[name]) }),
  });
  await zombie.sagas.start(zombie.definition, { id: order.id, input: order });
  await sleep.entered;
  await using living = await openShop(at.place, {
    run: true,
    faults: plannedFaults(plan),
    patience,
    isDead: () => true,
  });
  const { status } = await living.sagas.result(living.definition, order.id, { within: '60s' });
  await agrees(at.place, status);
  sleep.wake();
  await sleep.over;
  await agrees(at.place, status);
  return status;
}

describe('a worker that wakes up after its saga was taken over and ended changes nothing', () => {
  for (const step of steps) {
    test.concurrent(`in front of ${step}, completed meanwhile`, { timeout: 60_000 }, async () => {
      expect(await takenOver(step, 'do', [])).toBe('completed');
    });
    if (step !== 'confirm')
      test.concurrent(
        `in front of ${step}, compensated meanwhile`,
        { timeout: 60_000 },
        async () => {
          expect(await takenOver(step, 'do', [refusal])).toBe('compensated');
        },
      );
  }
  for (const step of undone)
    test.concurrent(`in front of the undo of ${step}`, { timeout: 60_000 }, async () => {
      expect(await takenOver(step, 'undo', [refusal])).toBe('compensated');
    });
  for (const step of ['reserve', 'charge', 'ship'] as const)
    test.concurrent(
      `in front of ${step}, which nobody else has done: its undo was first`,
      { timeout: 60_000 },
      async () => {
        const cannot = fault(step, 'do', 'error-before', EVERY);
        expect(await takenOver(step, 'do', [cannot], [])).toBe('compensated');
      },
    );
});

describe('orders under faults and kills', () => {
  const options = {
    seed: 3,
    orders: 12,
    kills: 3,
    workers: 2,
    killEveryMs: 200,
    faults: 0.3,
    width: 8,
  };
  test('in embedded stores end well, or visibly', { timeout: 180_000 }, async () => {
    await using at = await temporary();
    const report = await runOrders({ ...options, place: at.place, patience });
    expect(report.problems).toEqual([]);
    expect(report.kills).toBeGreaterThanOrEqual(3);
    expect(report.completed).toBeGreaterThan(0);
  });

  test.skipIf(!hasPostgres || !hasRedis)(
    'with orders in PostgreSQL and payments in Redis end well, or visibly',
    { timeout: 180_000 },
    async () => {
      await using at = await temporary();
      await using database = await freshDatabase();
      await using keys = await freshRedis();
      const servers = { postgresUrl: database.url, redisUrl: keys.url, prefix: keys.prefix };
      const place = { ...at.place, servers };
      const report = await runOrders({ ...options, place, patience });
      expect(report.problems).toEqual([]);
      expect(report.completed).toBeGreaterThan(0);
    },
  );
});

test('the checker finds what is lost, doubled or left over', async () => {
  await using at = await temporary();
  await using shop = await openShop(at.place, { prepare: true });
  const { participants } = shop;
  const key = (id: string) => ({ id, startedAtMs: Date.now() });
  await participants.inventory.do(key('one'), order);
  await participants.inventory.do(key('another'), order);
  await participants.shipping.do(key('label'), order);
  const checked = await check(at.place, [order], [{ id: order.id, status: 'completed' }]);
  expect(checked.problems).toEqual([
    'order-1: 2 times a reservation',
    'order-1: completed, without a payment',
    'order-1: completed, without a confirmation',
  ]);
  const left = await check(at.place, [order], [{ id: order.id, status: 'compensated' }]);
  expect(left.problems).toContain('order-1: compensated, with a label');
  const unknown = await check(at.place, [], []);
  expect(unknown.problems).toContain('order-1: reservation of an order nobody placed');
});
