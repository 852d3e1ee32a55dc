import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { effectsConformance, type EffectsSubject } from '../../src/conformance/effects.ts';
import type { Value } from '../../src/core/row.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { effectsSupports, postgres, type PostgresStore } from '../../src/stores/postgres/index.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';

let database: FreshDatabase;
let schemas = 0;

async function change(tx: pg.PoolClient, account: string, by: number): Promise<void> {
  await tx.query(
    `INSERT INTO accounts VALUES ($1, $2)
     ON CONFLICT (account) DO UPDATE SET balance = accounts.balance + $2`,
    [account, by],
  );
}

async function subject(isolation: string): Promise<EffectsSubject> {
  schemas += 1;
  const [schema, own] = [`accounts_${schemas}`, `tally_${schemas}`];
  const url = new URL(database.url);
  url.searchParams.set(
    'options',
    `-c search_path=${schema} -c default_transaction_isolation=${isolation}`,
  );
  let nowMs = 1_700_000_000_000;
  const clock = { ...systemClock, nowMs: () => nowMs };
  const open = (): Promise<PostgresStore> =>
    postgres({ url: url.href, schema: own, pool: { max: 6 } }).open({
      name: 'accounts',
      clock,
      random: systemRandom,
    });
  let store = await open();
  await store.client.query(`CREATE SCHEMA ${schema}`);
  await store.client.query(
    'CREATE TABLE accounts (account text PRIMARY KEY, balance integer NOT NULL)',
  );
  return {
    get effects() {
      return store.effects;
    },
    nowMs: () => nowMs,
    add: (account, amount, tag) => async (tx: pg.PoolClient) => {
      await change(tx, account, amount);
      return { amount, tag };
    },
    fail: (account) => async (tx: pg.PoolClient) => {
      await change(tx, account, 1);
      throw new Error('the work fails');
    },
    takeBack: (account) => async (tx: pg.PoolClient, result: Value) => {
      await change(tx, account, -(result as { readonly amount: number }).amount);
    },
    failBack: (account) => async (tx: pg.PoolClient) => {
      await change(tx, account, -1);
      throw new Error('the undo fails');
    },
    async balance(account) {
      const { rows } = await store.client.query<{ balance: number }>(
        'SELECT balance FROM accounts WHERE account = $1',
        [account],
      );
      return rows[0]?.balance ?? 0;
    },
    place: () => undefined,
    forget: (beforeMs, limit) =>
      store.effects.prune({ beforeMs, ...(limit === undefined ? {} : { limit }) }),
    async expireLocks() {
      nowMs += 24 * 3_600_000;
    },
    async reopen() {
      await store.close();
      store = await open();
    },
    async dispose() {
      await store.client.query(`DROP SCHEMA IF EXISTS ${schema}, ${own} CASCADE`);
      await store.close();
    },
  };
}

describe.skipIf(!hasPostgres)('effects in PostgreSQL', () => {
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
  });

  effectsConformance({ test, supports: effectsSupports, open: () => subject('read\\ committed') });

  describe('where transactions are serializable by default', () => {
    effectsConformance({ test, supports: effectsSupports, open: () => subject('serializable') });
  });

  test('an undo that meets its do under way waits for it, and then takes it back', async () => {
    const accounts = await subject('read\\ committed');
    try {
      const key = { id: 'saga/1', startedAtMs: accounts.nowMs() };
      const [entered, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const doing = accounts.effects.do(key, async (tx: pg.PoolClient) => {
        await change(tx, 'a', 5);
        entered.resolve();
        await go.promise;
        return { amount: 5 };
      });
      await entered.promise;
      const undoing = accounts.effects.undo(key, accounts.takeBack('a'));
      go.resolve();
      expect([(await doing).kind, (await undoing).kind]).toEqual(['done', 'undone']);
      expect(await accounts.balance('a')).toBe(0);
    } finally {
      await accounts.dispose();
    }
  });
});
