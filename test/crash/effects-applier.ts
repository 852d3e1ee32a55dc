import { writeSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type pg from 'pg';
import { unreachable } from '../../src/core/errors.ts';
import type { Value } from '../../src/core/row.ts';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { entryEffects, objectEffects } from '../../src/patterns/effects/index.ts';
import type { EffectKey, Effects } from '../../src/ports/effects.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { files } from '../../src/stores/files/index.ts';
import { postgres } from '../../src/stores/postgres/index.ts';
import { redis } from '../../src/stores/redis/index.ts';
import { sqlite } from '../../src/stores/sqlite/index.ts';

/** Kinds of effects that are killed: where they are, and how their total is told. */
export type Kind = 'sqlite' | 'postgres' | 'redis' | 'files' | 'entries';

/** A store of one account, which effects add to; the effect of number n adds n. */
export interface Applier extends AsyncDisposable {
  readonly effects: Effects<unknown, unknown>;
  add(number: number): unknown;
  takeBack(number: number): unknown;
  place(number: number): string | undefined;
  total(): Promise<number>;
}

const context = { name: 'account', clock: systemClock, random: systemRandom };

export function keyOf(number: number): EffectKey {
  return { id: `saga/${number}`, startedAtMs: 1_800_000_000_000 + number };
}

/** What number n ends as: done, undone after it was done, or undone before. */
export function fateOf(number: number): 'done' | 'undone' | 'never' {
  if (number % 4 === 3) return 'never';
  return number % 3 === 0 ? 'undone' : 'done';
}

/** Opens the account of one kind: in a folder, a database or under a prefix. */
export async function openApplier(kind: Kind, at: string, prefix: string): Promise<Applier> {
  switch (kind) {
    case 'sqlite':
      return inSqlite(join(at, 'account.db'));
    case 'postgres':
      return inPostgres(at);
    case 'redis':
      return inRedis(at, prefix);
    case 'files':
      return inFiles(at);
    case 'entries':
      return inEntries(join(at, 'entries.db'));
    default:
      return unreachable(kind);
  }
}

async function inSqlite(file: string): Promise<Applier> {
  const store = await sqlite({ file }).open(context);
  store.client.exec('CREATE TABLE IF NOT EXISTS account (total INTEGER NOT NULL)');
  const add = (by: number) => (tx: DatabaseSync) => {
    tx.prepare('INSERT INTO account VALUES (?)').run(by);
    return by;
  };
  return {
    effects: store.effects,
    add,
    takeBack: () => (tx: DatabaseSync, result: Value) => void add(-Number(result))(tx),
    place: () => undefined,
    total: async () =>
      Number(store.client.prepare('SELECT total(total) AS sum FROM account').get()?.['sum']),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function inPostgres(url: string): Promise<Applier> {
  const store = await postgres({ url }).open(context);
  await store.client.query('CREATE TABLE IF NOT EXISTS account (total integer NOT NULL)');
  const add = (by: number) => async (tx: pg.PoolClient) => {
    await tx.query('INSERT INTO account VALUES ($1)', [by]);
    return by;
  };
  return {
    effects: store.effects,
    add,
    takeBack: () => async (tx: pg.PoolClient, result: Value) => {
      await add(-Number(result))(tx);
    },
    place: () => undefined,
    async total() {
      const { rows } = await store.client.query(
        'SELECT coalesce(sum(total), 0) AS sum FROM account',
      );
      return Number((rows[0] as { sum: unknown }).sum);
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function inRedis(url: string, prefix: string): Promise<Applier> {
  const store = await redis({ url, prefix }).open(context);
  const name = `${prefix}account`;
  return {
    effects: store.effects,
    add: (by) => ({
      keys: [name],
      args: [String(by)],
      lua: `redis.call('INCRBY', KEYS[1], ARGV[1])\nreturn ARGV[1]`,
    }),
    takeBack: () => ({ keys: [name], lua: `redis.call('DECRBY', KEYS[1], RESULT)` }),
    place: () => name,
    total: async () => Number((await store.client.get(name)) ?? 0),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function inFiles(dir: string): Promise<Applier> {
  const store = await files({ dir, fsync: 'os' }).open(context);
  const effects = objectEffects(store.objects, { clock: systemClock });
  return {
    effects,
    add: (by) => ({ object: `n/${by}`, body: Buffer.from(String(by)), result: by }),
    takeBack: (by) => ({ object: `n/${by}` }),
    place: (number) => `n/${number}`,
    async total() {
      let sum = 0;
      for await (const { key } of store.objects.list('n/')) {
        const found = await effects.get(key);
        for await (const chunk of found?.body ?? []) sum += Number(Buffer.from(chunk).toString());
      }
      return sum;
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function inEntries(file: string): Promise<Applier> {
  const store = await sqlite({ file }).open(context);
  const effects = entryEffects(store.keyValue, { clock: systemClock });
  const entry = 'account';
  return {
    effects,
    add: (by) => ({
      entry,
      change: (value: Value | undefined) => ({ value: Number(value ?? 0) + by, result: by }),
    }),
    takeBack: () => ({
      entry,
      change: (value: Value | undefined, result: Value) => Number(value) - Number(result),
    }),
    place: () => entry,
    total: async () => Number((await effects.get(entry)) ?? 0),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

// `node effects-applier.ts KIND AT PREFIX FROM` takes effects from this number on to their fate, each call twice, until it
// is killed, and writes how many numbers are settled.
if (import.meta.main) {
  const [, , kind = '', at = '', prefix = '', from = '0'] = process.argv;
  const account = await openApplier(kind as Kind, at, prefix);
  const { effects } = account;
  armFromEnvironment(process.env);
  for (let number = Number(from); ; number += 1) {
    const key = keyOf(number);
    const fate = fateOf(number);
    if (fate === 'never')
      for (let time = 0; time < 2; time++) await effects.undo(key, account.takeBack(number));
    for (let time = 0; time < 2; time++) await effects.do(key, account.add(number));
    if (fate === 'undone')
      for (let time = 0; time < 2; time++) await effects.undo(key, account.takeBack(number));
    writeSync(1, `${number + 1}\n`);
  }
}
