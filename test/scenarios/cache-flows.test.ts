import { rm } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { flow, invalidation, open, put, tally, type OpenApp } from 'tallystick';
import { cache, type CacheHappening } from 'tallystick/cache';
import { memory } from 'tallystick/memory';
import type { TxOf } from '../../src/app/definition.ts';
import type { OpenOptions } from '../../src/app/open.ts';
import {
  cacheFlowApp,
  type CacheFlowApp,
  type CacheFlowOptions,
  type Names,
  type World,
} from '../support/cache-flow.ts';
import { worlds } from '../support/cache-worlds.ts';
import { ended } from '../support/ended.ts';
import { ask, tempDir, waitFor } from '../support/scenario.ts';

const path = tempDir();
const kept = ended();

type Open = OpenApp<World['stores'], { readonly names: Names }>;

/** Waits until the cache was told of everything that is committed by now. */
async function toldAll(app: Open): Promise<void> {
  const freshness = await app.barrier('names', { maxStale: 0, within: '60s' });
  expect(freshness, JSON.stringify(await app.status())).toEqual({ kind: 'fresh' });
}

/** Within a transaction of the application, whichever store it is of. */
async function rename(tx: TxOf<World['stores']['shop']>, id: string, name: string): Promise<void> {
  const text = `UPDATE items SET name = '${name}' WHERE id = ${id}`;
  if ('query' in tx) await tx.query(text);
  else tx.exec(text);
}

const openIt = (app: CacheFlowApp, options: OpenOptions = {}): Promise<Open> => open(app, options);

for (const [name, { isThere, open: openWorld }] of Object.entries(worlds))
  describe.skipIf(!isThere)(`a flow into a cache, ${name}`, () => {
    async function world(): Promise<World> {
      const made = kept(await openWorld(path()));
      await made.run("INSERT INTO items VALUES (1, 'lamp', 'a'), (2, 'chair', 'a')");
      return made;
    }

    async function started(options: CacheFlowOptions = {}) {
      const owner = await world();
      const app = kept(await openIt(cacheFlowApp(path(), owner, options)));
      await toldAll(app);
      return { owner, app, names: app.caches.names };
    }

    test('a write made around the application reaches the cache, and the copies of another process', async () => {
      const { owner, app, names } = await started();
      const other = kept(
        await openIt(cacheFlowApp(path(), owner, { cache: { near: {} } }), {
          run: false,
        }),
      );
      for (const one of [names, other.caches.names])
        expect(await one.getMany(['1', '2', '3'])).toEqual(['lamp', 'chair', undefined]);
      await owner.run(
        "UPDATE items SET name = 'desk lamp' WHERE id = 1; DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (3, 'table', 'a')",
      );
      await toldAll(app);
      const now = ['desk lamp', undefined, 'table'];
      expect(await names.getMany(['1', '2', '3'])).toEqual(now);
      // Its copies are told by the store, a message later; where that does not tell, by their time.
      await waitFor(async () => {
        const seen = await other.caches.names.getMany(['1', '2', '3']);
        return seen.join() === now.join() ? true : undefined;
      });
      expect(names.stats()).toMatchObject({ told: 3 });
    });

    test('a load that began before the change cannot be stored after it was told', async () => {
      const gate = Promise.withResolvers<void>();
      const begun = Promise.withResolvers<void>();
      const calls: string[] = [];
      const owner = await world();
      const load = async (id: string): Promise<string | undefined> => {
        const value = await owner.name(id);
        calls.push(`${id} ${value}`);
        if (calls.length === 1) {
          begun.resolve();
          await gate.promise;
        }
        return value;
      };
      const app = kept(await openIt(cacheFlowApp(path(), owner, { cache: { load } })));
      await toldAll(app);
      const { names } = app.caches;
      const slow = names.get('1');
      await begun.promise;
      await owner.run("UPDATE items SET name = 'desk lamp' WHERE id = 1");
      await toldAll(app);
      gate.resolve();
      await slow;
      expect(await names.get('1')).toBe('desk lamp');
      expect(names.stats()).toMatchObject({ voided: 1, loads: 2 });
      expect(calls).toEqual(['1 lamp', '1 desk lamp']);
    });

    test('a read after evidence is answered by the cache once that was told, and loads until then', async () => {
      const { owner, app, names } = await started();
      expect(await names.getMany(['1', '2'])).toEqual(['lamp', 'chair']);
      const { evidence } = await app.write('shop', (tx) => rename(tx, '1', 'desk lamp'));
      expect(await names.get('1', { after: evidence })).toBe('desk lamp');
      expect(await app.barrier('names', { after: evidence, within: '60s' })).toEqual({
        kind: 'fresh',
      });
      const { loads } = names.stats();
      expect(await names.read('2', { after: evidence })).toMatchObject({
        value: 'chair',
        from: 'shared',
      });
      expect(names.stats().loads).toBe(loads);
      // Also in a process that runs no flow; but not for a lane that nothing tells of.
      const other = kept(await openIt(cacheFlowApp(path(), owner), { run: false }));
      expect((await other.caches.names.read('2', { after: evidence })).from).toBe('shared');
      const more = new Map([...evidence, ['elsewhere', [{ epoch: 1, offset: 5 }]]]);
      expect((await other.caches.names.read('2', { after: more })).from).toBe('load');
    });

    test('what was written while no flow ran is told when one runs again', async () => {
      const owner = await world();
      const app = cacheFlowApp(path(), owner);
      {
        await using running = await openIt(app);
        await toldAll(running);
        expect(await running.caches.names.getMany(['1', '2'])).toEqual(['lamp', 'chair']);
      }
      await owner.run("UPDATE items SET name = 'desk lamp' WHERE id = 1");
      await using again = await openIt(app);
      await toldAll(again);
      expect(await again.caches.names.getMany(['1', '2'])).toEqual(['desk lamp', 'chair']);
      // Only what was changed: the checkpoint says where it had been.
      expect(again.caches.names.stats()).toMatchObject({ loads: 1, told: 1 });
    });

    test('without the ledger and the log nothing is believed of what the cache holds', async () => {
      const owner = await world();
      const app = cacheFlowApp(path(), owner);
      {
        await using running = await openIt(app);
        await toldAll(running);
        expect(await running.caches.names.get('1')).toBe('lamp');
        // The embedded log is given this in its last moments, and nobody reads it.
      }
      await owner.run("UPDATE items SET name = 'desk lamp' WHERE id = 1");
      await rm(path('tally'), { recursive: true });
      await using again = await openIt(app);
      await waitFor(async () =>
        (await again.caches.names.inspect('1')).entry === undefined ? true : undefined,
      );
      expect(await again.caches.names.get('1')).toBe('desk lamp');
    });

    test('a change whose keys cannot be told invalidates everything, and says why', async () => {
      const events: CacheHappening[] = [];
      const { owner, app, names } = await started({
        cache: { onEvent: (event) => events.push(event) },
        flow: {
          keys: (row) => {
            if (row['name'] === 'odd') throw new Error('no such shelf');
            return [String(row['id'])];
          },
        },
      });
      expect(await names.getMany(['1', '2'])).toEqual(['lamp', 'chair']);
      await owner.run("UPDATE items SET name = 'odd' WHERE id = 1");
      await toldAll(app);
      expect((await names.inspect('2')).entry).toBeUndefined();
      expect(await names.getMany(['1', '2'])).toEqual(['odd', 'chair']);
      expect(events.filter(({ kind }) => kind === 'told-unclear')).toEqual([
        { kind: 'told-unclear', reason: 'no such shelf' },
      ]);
      expect((await app.status()).flows[0]).toMatchObject({ parked: 0 });
    });

    test('tags and namespaces are told as keys are', async () => {
      const { owner, app, names } = await started({
        cache: { tags: (value) => [value === 'lamp' ? 'a' : 'b'] },
        flow: {
          keys: (row) => [String(row['id'])],
          tags: (row) => [String(row['shelf'])],
          namespace: (row) => (row['id'] === 2 ? 'de' : ''),
        },
      });
      const german = names.namespace('de');
      await names.getMany(['1', '2']);
      await german.get('2');
      await owner.run("UPDATE items SET name = 'stool', shelf = 'z' WHERE id = 2");
      await toldAll(app);
      // By its tag, which the row had before; by its namespace; and what has neither stays.
      expect((await names.inspect('1')).entry).toBeUndefined();
      expect((await german.inspect('2')).entry).toBeUndefined();
      expect((await names.inspect('2')).entry).toBeDefined();
    });

    test('what the cache had is loaded at once where that is asked for, and nothing else', async () => {
      const { owner, app, names } = await started({ flow: { afterwards: 'load' } });
      await names.get('1');
      await owner.run('UPDATE items SET name = upper(name)');
      await toldAll(app);
      await waitFor(async () =>
        (await names.inspect('1')).entry === undefined ? undefined : true,
      );
      expect((await names.inspect('2')).entry).toBeUndefined();
      expect(await names.get('1')).toBe('LAMP');
      expect(names.stats().loads).toBe(2);
    });

    test('with fences the flow leaves what was loaded after the change', async () => {
      const owner = await world();
      const app = cacheFlowApp(path(), owner, { cache: { lane: 'shop' } });
      {
        await using running = await openIt(app);
        await toldAll(running);
      }
      {
        // While nothing is told, so that it is told later than it is loaded.
        await using writing = await openIt(app, { run: false });
        const { names } = writing.caches;
        await names.get('2');
        await names.write('1', () => writing.write('shop', (tx) => rename(tx, '1', 'desk lamp')));
        expect(await names.get('1')).toBe('desk lamp');
      }
      await owner.run("UPDATE items SET name = 'stool' WHERE id = 2");
      await using again = await openIt(app);
      await toldAll(again);
      expect(await again.caches.names.getMany(['1', '2'])).toEqual(['desk lamp', 'stool']);
      expect(again.caches.names.stats()).toMatchObject({ loads: 1, told: 2 });
    });

    test('a snapshot that is taken again empties the cache', async () => {
      const { app, names } = await started();
      await names.get('1');
      expect(await ask(app, { of: 'lane', lane: 'shop', request: 'resnapshot' })).toBe(2);
      await waitFor(async () =>
        (await names.inspect('1')).entry === undefined ? true : undefined,
      );
      await toldAll(app);
      await expect(
        ask(app, { of: 'flow', flow: 'told', request: { kind: 'rebuild' } }),
      ).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
    });
  });

test.skipIf(worlds['PostgreSQL to Redis']?.isThere !== true)(
  'a truncated table empties the cache, PostgreSQL to Redis',
  async () => {
    const owner = kept(await (worlds['PostgreSQL to Redis']?.open(path()) ?? Promise.reject()));
    await owner.run("INSERT INTO items VALUES (1, 'lamp', 'a')");
    const app = kept(await openIt(cacheFlowApp(path(), owner)));
    await toldAll(app);
    expect(await app.caches.names.get('1')).toBe('lamp');
    await owner.run('TRUNCATE items');
    await waitFor(async () =>
      (await app.caches.names.inspect('1')).entry === undefined ? true : undefined,
    );
    await toldAll(app);
    expect(await app.caches.names.get('1')).toBeUndefined();
  },
);

describe('what is refused before anything runs', () => {
  const from = { from: 'shop', tables: ['items'], keys: () => ['1'] };
  const stores = { shop: memory(), shelf: memory() };
  const names = () => cache({ name: 'names', load: () => 'x', ttl: '1m' });

  test('a cache that is not declared, with the nearest name', () => {
    expect(() =>
      tally({
        name: 'shop',
        stores,
        caches: { names },
        flows: { told: invalidation({ ...from, to: 'name' }) },
      }),
    ).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('did you mean names'),
      }) as Error,
    );
  });

  test('a store as the end of an invalidation, and a cache as the end of a flow of rows', () => {
    expect(() =>
      tally({ name: 'shop', stores, flows: { told: invalidation({ ...from, to: 'shelf' }) } }),
    ).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error);
    const rows = flow({
      from: 'shop',
      tables: ['items'],
      to: 'names',
      into: 'x',
      project: () => put('x', [1], {}),
    });
    expect(() => tally({ name: 'shop', stores, caches: { names }, flows: { rows } })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error,
    );
  });

  test('one name for a cache and a store, where a flow could mean either', () => {
    expect(() =>
      tally({
        name: 'shop',
        stores,
        caches: { shelf: names },
        flows: { told: invalidation({ ...from, to: 'shelf' }) },
      }),
    ).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error);
  });

  test('a flow that tells nothing, and an option that is not known', () => {
    expect(() => invalidation({ from: 'shop', tables: ['items'], to: 'names' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error,
    );
    expect(() => invalidation({ ...from, to: 'names', key: 1 } as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNKNOWN_OPTION' }) as Error,
    );
  });

  test('a cache of each process alone: a flow runs in one of them', async () => {
    const app = tally({
      name: 'shop',
      dir: path('tally'),
      stores,
      caches: { names },
      flows: { told: invalidation({ ...from, to: 'names' }) },
    });
    await expect(open(app)).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
  });
});
