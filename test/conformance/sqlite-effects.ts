import type { DatabaseSync } from 'node:sqlite';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EffectsSubject } from '../../src/conformance/effects.ts';
import type { Value } from '../../src/core/row.ts';
import type { EffectsSupports } from '../../src/ports/effects.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { sqlite, type SqliteStore } from '../../src/stores/sqlite/index.ts';

export const sqliteEffects: EffectsSupports = {
  unit: 'transaction',
  locks: true,
  resultBytesMax: 65_536,
  retentionMs: 30 * 24 * 3_600_000,
};

const change = (tx: DatabaseSync, account: string, by: number): void => {
  tx.prepare(
    'INSERT INTO accounts VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET balance = balance + ?2',
  ).run(account, by);
};

/** Accounts in a new file. */
export async function sqliteSubject(): Promise<EffectsSubject> {
  const dir = await mkdtemp(join(tmpdir(), 'tally-effects-'));
  let nowMs = 1_700_000_000_000;
  const clock = { ...systemClock, nowMs: () => nowMs };
  const open = (): Promise<SqliteStore> =>
    sqlite({ file: join(dir, 'accounts.db'), synchronous: 'NORMAL' }).open({
      name: 'accounts',
      clock,
      random: systemRandom,
    });
  let store = await open();
  store.client.exec('CREATE TABLE accounts (account TEXT PRIMARY KEY, balance INTEGER NOT NULL)');
  return {
    get effects() {
      return store.effects;
    },
    nowMs: () => nowMs,
    add: (account, amount, tag) => (tx: DatabaseSync) => {
      change(tx, account, amount);
      return { amount, tag };
    },
    fail: (account) => async (tx: DatabaseSync) => {
      change(tx, account, 1);
      await Promise.reject(new Error('the work fails'));
    },
    takeBack: (account) => async (tx: DatabaseSync, result: Value) => {
      await Promise.resolve();
      change(tx, account, -(result as { readonly amount: number }).amount);
    },
    failBack: (account) => (tx: DatabaseSync) => {
      change(tx, account, -1);
      throw new Error('the undo fails');
    },
    async balance(account) {
      const row = store.client.prepare('SELECT balance FROM accounts WHERE account = ?');
      return Number(row.get(account)?.['balance'] ?? 0);
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
      await store.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
