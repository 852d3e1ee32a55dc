import { createClient } from 'redis';
import { describe, expect, test } from 'vitest';
import { flow, open, put, tally, type Evidence } from 'tallystick';
import { postgres } from 'tallystick/postgres';
import { redis } from 'tallystick/redis';
import { systemClock } from '../../src/runtime/clock.ts';
import { ended } from '../support/ended.ts';
import { ask as request, tempDir } from '../support/scenario.ts';
import { freshDatabase, freshRedis, hasPostgres, hasRedis } from '../support/servers.ts';
import { ask, ITEMS, rows } from '../support/postgres-app.ts';

const path = tempDir();
const kept = ended();
const retryAll = {
  of: 'flow',
  flow: 'copy',
  request: { kind: 'retry-parked', unit: undefined },
} as const;

/** An owner in PostgreSQL, and Redis beside it. */
async function shop(refuses: (id: unknown) => boolean = () => false) {
  const owner = kept(await freshDatabase());
  const cache = kept(await freshRedis());
  await ask(owner.url, ITEMS);
  const step = { ms: 0 };
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + step.ms };
  const app = kept(
    await open(
      tally({
        name: 'shop',
        dir: path('tally'),
        stores: { orders: postgres({ url: owner.url }), cache: redis({ url: cache.url }) },
        flows: {
          copy: flow({
            from: 'orders',
            tables: ['items'],
            to: 'cache',
            into: 'items',
            project: (row) => {
              if (refuses(row['id'])) throw new Error('no such category');
              const { id = null, name = null, n = null } = row;
              return put('items', [id as number], { id, name, n });
            },
          }),
        },
      }),
      { clock },
    ),
  );
  const write = async (id: number, name: string): Promise<Evidence> =>
    (
      await app.write('orders', (tx) =>
        tx.query(
          'INSERT INTO items VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = items.n + 1',
          [id, name],
        ),
      )
    ).evidence;
  const seen = async (): Promise<readonly unknown[]> => {
    const client = createClient({ url: cache.url });
    await client.connect();
    try {
      const keys = await client.keys('items:*');
      const texts = keys.length === 0 ? [] : await client.mGet(keys);
      return texts
        .map((text) => JSON.parse(text ?? 'null') as { readonly id: number })
        .toSorted((one, other) => one.id - other.id);
    } finally {
      client.destroy();
    }
  };
  const owned = (): Promise<readonly unknown[]> => rows(owner.url, 'items');
  const applied = async (after: Evidence): Promise<void> =>
    expect(await app.barrier('cache', { after, within: '60s' })).toEqual({ kind: 'fresh' });
  return { app, write, seen, owned, applied, step };
}

describe.skipIf(!hasPostgres || !hasRedis)('flows from PostgreSQL to Redis', () => {
  test('T5 T13 what a projection throws on is parked with all that follows it, alone, and applied in order once it is mended', async () => {
    const healing = { isHealed: false };
    const { app, write, seen, owned, applied } = await shop((id) => id === 3 && !healing.isHealed);
    await applied(await write(1, 'first'));
    for (const name of ['first', 'second', 'third'])
      for (let id = 2; id < 6; id += 1) await write(id, name);
    const last = await write(1, 'last');
    const keys = [{ table: 'items', key: [1] }];
    expect(await app.barrier('cache', { after: last, within: '60s', keys })).toEqual({
      kind: 'fresh',
    });
    expect((await app.barrier('cache', { after: last, within: 0 })).kind).toBe('blocked');
    expect((await seen()).map((row) => (row as { readonly id: number }).id)).toEqual([1, 2, 4, 5]);
    healing.isHealed = true;
    expect(await request(app, retryAll)).toBe(3);
    await applied(last);
    expect(await seen()).toEqual(await owned());
  }, 60_000);

  test('T20 waiters are woken for what nobody carries, for what was applied before, and together', async () => {
    const { app, write, applied } = await shop();
    const first = await write(1, 'first');
    await applied(first);
    expect(await app.barrier('cache', { after: first, within: 0 })).toEqual({ kind: 'fresh' });
    await applied((await app.write('orders', () => undefined)).evidence);
    const second = await write(2, 'second');
    await Promise.all([applied(second), applied(second), applied(first)]);
  }, 60_000);

  test('T21 a clock that goes back by a day changes no winner', async () => {
    const { write, seen, owned, applied, step } = await shop();
    await applied(await write(1, 'before the step'));
    step.ms = -86_400_000;
    await applied(await write(1, 'after the step'));
    expect(await seen()).toEqual([{ id: 1, name: 'after the step', n: 1 }]);
    expect(await seen()).toEqual(await owned());
  }, 60_000);
});
