import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Value } from '../../src/core/row.ts';
import {
  columnAddition,
  entryAddition,
  entryEffects,
  ifEntryUnchanged,
  ifRowUnchanged,
  redisAddition,
  resultOf,
  settled,
  type EffectKey,
  type Effects,
} from '../../src/patterns/effects/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom, systemRandom } from '../../src/runtime/random.ts';
import { memory } from '../../src/stores/memory/index.ts';
import { postgres, type PostgresStore } from '../../src/stores/postgres/index.ts';
import { effectsSupports, openEffects } from '../../src/stores/redis/effects/effects.ts';
import { sqlite, type SqliteStore } from '../../src/stores/sqlite/index.ts';
import { redisParts } from '../conformance/redis-parts.ts';
import { freshDatabase, type FreshDatabase, hasPostgres, hasRedis } from '../support/servers.ts';

const context = { name: 'shop', clock: systemClock, random: systemRandom };
const startedAtMs = Date.now();
const keyOf = (id: string): EffectKey => ({ id, startedAtMs });
const stock = { table: 'items', column: 'in_stock', where: { sku: 'lamp' } } as const;

/** One number behind effects of one kind of store. */
interface Counter {
  readonly effects: Pick<Effects<unknown, unknown>, 'do' | 'undo'>;
  readonly add: (by: number) => unknown;
  readonly takeBack: (by: number) => unknown;
  readonly read: () => Promise<number>;
  readonly code: string;
}

/** Many at once, each twice, every third taken back: the number is the sum of what stands, and was never below zero. */
async function commutes({ effects, add, takeBack, read, code }: Counter): Promise<void> {
  const random = seededRandom(7);
  let sum = 40;
  expect(resultOf(await effects.do(keyOf('stock'), add(40)))).toBe(40);
  await Promise.all(
    Array.from({ length: 24 }, async (_, number) => {
      const by = number % 2 === 0 ? -(1 + Math.floor(random.next() * 4)) : 2;
      const key = keyOf(`saga/${number}`);
      const works = [effects.do(key, add(by)), effects.do(key, add(by))];
      for (const outcome of await Promise.all(works)) resultOf(outcome);
      if (number % 3 === 0) settled(await effects.undo(key, takeBack(by)));
      else sum += by;
    }),
  );
  expect(await read()).toBe(sum);
  await expect(effects.do(keyOf('too-much'), add(-1_000))).rejects.toMatchObject({ code });
  expect(await read()).toBe(sum);
  // Nothing of the refused one was kept: its undo finds nothing.
  expect(await effects.undo(keyOf('too-much'), takeBack(-1_000))).toEqual({ kind: 'nothing' });
  expect(await read()).toBe(sum);
}

const bounds = { min: 0, max: 1_000 } as const;

describe('on SQLite', () => {
  let dir: string;
  let store: SqliteStore;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tally-countermeasures-'));
    store = await sqlite({ file: join(dir, 'shop.db'), synchronous: 'NORMAL' }).open(context);
    store.client.exec(
      `CREATE TABLE items (sku TEXT PRIMARY KEY, in_stock INTEGER NOT NULL); INSERT INTO items VALUES ('lamp', 0);
       CREATE TABLE offers (id TEXT PRIMARY KEY, price INTEGER, status TEXT); INSERT INTO offers VALUES ('o', NULL, 'open')`,
    );
  });
  afterAll(async () => {
    await store.close();
    await rm(dir, { recursive: true, force: true });
  });

  test('additions commute, happen once, and stay within their bounds', () =>
    commutes({
      effects: store.effects,
      add: (by) => columnAddition({ ...stock, ...bounds, by }).sqlite,
      takeBack: (by) => columnAddition({ ...stock, by }).undo.sqlite,
      read: async () =>
        Number(store.client.prepare('SELECT in_stock FROM items').get()?.['in_stock']),
      code: 'STEP_REFUSED',
    }));

  test('a row that is not any more what was seen is not changed, an unknown value included', async () => {
    const confirm = (price: number | null, id: string) =>
      store.effects.do(
        keyOf(id),
        ifRowUnchanged({
          table: 'offers',
          where: { id: 'o' },
          seen: { price },
          set: { status: id },
        }).sqlite,
      );
    await expect(confirm(5, 'wrong')).rejects.toMatchObject({ code: 'STEP_REFUSED' });
    expect(resultOf(await confirm(null, 'confirmed'))).toBeNull();
    expect({ ...store.client.prepare('SELECT status FROM offers').get() }).toEqual({
      status: 'confirmed',
    });
  });
});

describe.skipIf(!hasPostgres)('on PostgreSQL', () => {
  let database: FreshDatabase;
  let store: PostgresStore;
  beforeAll(async () => {
    database = await freshDatabase();
    store = await postgres({ url: database.url, pool: { max: 6 } }).open(context);
    await store.client.query(
      `CREATE TABLE items (sku text PRIMARY KEY, in_stock integer NOT NULL); INSERT INTO items VALUES ('lamp', 0);
       CREATE TABLE offers (id text PRIMARY KEY, price integer, status text); INSERT INTO offers VALUES ('o', NULL, 'open')`,
    );
  });
  afterAll(async () => {
    await store.close();
    await database[Symbol.asyncDispose]();
  });

  test('additions commute, happen once, and stay within their bounds', () =>
    commutes({
      effects: store.effects,
      add: (by) => columnAddition({ ...stock, table: 'public.items', ...bounds, by }).postgres,
      takeBack: (by) => columnAddition({ ...stock, by }).undo.postgres,
      read: async () =>
        Number((await store.client.query('SELECT in_stock FROM items')).rows[0].in_stock),
      code: 'STEP_REFUSED',
    }));

  test('a row that is not any more what was seen is not changed, an unknown value included', async () => {
    const confirm = (price: number | null, id: string) =>
      store.effects.do(
        keyOf(id),
        ifRowUnchanged({
          table: 'offers',
          where: { id: 'o' },
          seen: { price },
          set: { status: id },
        }).postgres,
      );
    await expect(confirm(5, 'wrong')).rejects.toMatchObject({ code: 'STEP_REFUSED' });
    expect(resultOf(await confirm(null, 'confirmed'))).toBeNull();
    expect((await store.client.query('SELECT status FROM offers')).rows).toEqual([
      { status: 'confirmed' },
    ]);
  });
});

describe.skipIf(!hasRedis)('in Redis', () => {
  test('additions commute, happen once, and stay within their bounds', async () => {
    await using opened = await redisParts();
    const { prefix, link } = opened.parts;
    const account = `${prefix}account`;
    await commutes({
      effects: openEffects(opened.parts, {
        retentionMs: effectsSupports.retentionMs,
        eviction: 'refuse',
      }),
      add: (by) => redisAddition(account, { by, ...bounds }).work,
      takeBack: (by) => redisAddition(account, { by }).undo,
      read: async () => Number(await link.send(account, ['GET', account])),
      code: 'WRITE_REFUSED',
    });
  });
});

describe('in entries', () => {
  const open = async () =>
    entryEffects((await memory().open(context)).keyValue, { clock: systemClock });

  test('additions commute, happen once, and stay within their bounds', async () => {
    const effects = await open();
    await commutes({
      effects: effects,
      add: (by) => entryAddition('lamp', { by, ...bounds }).work,
      takeBack: (by) => entryAddition('lamp', { by }).undo,
      read: async () => Number(await effects.get('lamp')),
      code: 'STEP_REFUSED',
    });
  });

  test('an entry that is not any more what was seen is not changed', async () => {
    const effects = await open();
    const set = (seen: Value | undefined, value: Value, id: string) =>
      effects.do(
        keyOf(id),
        ifEntryUnchanged('offer', seen, () => ({ value })),
      );
    resultOf(await set(undefined, { price: 5 }, 'a'));
    await expect(set({ price: 6 }, { price: 7 }, 'b')).rejects.toMatchObject({
      code: 'STEP_REFUSED',
    });
    resultOf(await set({ price: 5 }, { price: 8 }, 'c'));
    expect(await effects.get('offer')).toEqual({ price: 8 });
  });
});

test.each([
  () => columnAddition({ ...stock, by: 0.5 }),
  () => columnAddition({ ...stock, by: 1, where: {} }),
  () => columnAddition({ ...stock, by: 1, column: 'a"; DROP TABLE items; --' }),
  () => columnAddition({ ...stock, by: 1, min: 5, max: 4 }),
  () => ifRowUnchanged({ table: 'items', where: { sku: 'a' }, seen: {}, set: { x: 1 } }),
])('refuses what cannot be meant (%#)', (make) => {
  expect(make).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error);
});
