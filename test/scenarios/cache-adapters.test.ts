import { expect, onTestFinished, test } from 'vitest';
import { cache, keyvStore, type KeyvStore } from '../../src/patterns/cache/index.ts';
import type { Caches } from '../../src/ports/cache.ts';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { virtualClock } from '../../src/faults/virtual-clock.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { memcached } from '../../src/stores/memcached/index.ts';
import { memory } from '../../src/stores/memory/index.ts';
import { freshMemcached, hasMemcached } from '../support/servers.ts';

// Only what is called of the two libraries is described here.
interface KeyvLike {
  get(key: string | string[]): Promise<unknown>;
  set(key: string, value: unknown, ttl?: number): Promise<boolean>;
  delete(key: string | string[]): Promise<boolean>;
  has(key: string): Promise<boolean>;
  clear(): Promise<void>;
}
interface ManagerLike {
  wrap(key: string, load: () => Promise<unknown>, ttl?: number): Promise<unknown>;
  del(key: string): Promise<boolean>;
  mget(keys: string[]): Promise<unknown[]>;
}

// Not named as literals: nothing of the project needs them but this file.
const [keyvName, managerName] = ['keyv', 'cache-manager'];
const { Keyv } = (await import(keyvName)) as {
  readonly Keyv: new (options: object) => KeyvLike;
};
const { createCache } = (await import(managerName)) as {
  readonly createCache: (options: object) => ManagerLike;
};

async function storeOf(
  definition: StoreDefinition,
  clock = systemClock,
): Promise<{ readonly caches: Caches }> {
  const store = await definition.open({ name: 'cache', clock, random: systemRandom });
  onTestFinished(() => store.close());
  if (store.caches === undefined) throw new Error('no caches');
  return { caches: store.caches };
}

async function keyvOver(store: KeyvStore): Promise<void> {
  const keyv = new Keyv({ store, namespace: 'users', throwOnErrors: true });
  const other = new Keyv({ store, namespace: 'other', throwOnErrors: true });
  expect(await keyv.get('ada')).toBeUndefined();
  await keyv.set('ada', { name: 'Ada', born: 1815 }, 60_000);
  await keyv.set('bob', 'text');
  await other.set('ada', 'another');
  expect(await keyv.get('ada')).toEqual({ name: 'Ada', born: 1815 });
  expect(await keyv.get(['bob', 'nobody', 'ada'])).toEqual([
    'text',
    undefined,
    { name: 'Ada', born: 1815 },
  ]);
  expect(await other.get('ada')).toBe('another');
  expect([await keyv.has('bob'), await keyv.has('nobody')]).toEqual([true, false]);
  expect([await keyv.delete('bob'), await keyv.delete('bob')]).toEqual([true, false]);
  expect(await keyv.get('bob')).toBeUndefined();
  await keyv.clear();
  expect(await keyv.get('ada')).toBeUndefined();
}

async function managerOver(store: KeyvStore): Promise<void> {
  const manager = createCache({ stores: [new Keyv({ store, throwOnErrors: true })] });
  let loads = 0;
  const load = async (): Promise<unknown> => ({ loads: (loads += 1) });
  expect(await manager.wrap('a', load, 60_000)).toEqual({ loads: 1 });
  expect(await manager.wrap('a', load, 60_000)).toEqual({ loads: 1 });
  await manager.del('a');
  expect(await manager.wrap('a', load, 60_000)).toEqual({ loads: 2 });
  expect(await manager.mget(['a', 'b'])).toEqual([{ loads: 2 }, undefined]);
}

test('keyv and cache-manager keep their entries in memory', async () => {
  const store = await storeOf(memory());
  await keyvOver(await keyvStore(store, { name: 'one' }));
  await managerOver(await keyvStore(store, { name: 'two' }));
});

test.skipIf(!hasMemcached)('keyv and cache-manager keep their entries in Memcached', async () => {
  const store = await storeOf(memcached(freshMemcached()));
  await keyvOver(await keyvStore(store, { name: 'one' }));
  await managerOver(await keyvStore(store, { name: 'two' }));
});

test('an entry ends by the clock of the store; without a ttl it stays', async () => {
  const clock = virtualClock();
  const store = await keyvStore(await storeOf(memory(), clock), { name: 'one' });
  await store.set('a', [1, null, 2n], 1_000);
  await store.set('b', null);
  expect(await store.getMany(['a', 'b'])).toEqual([[1, null, 2n], null]);
  await clock.advance(1_001);
  expect(await store.getMany(['a', 'b'])).toEqual([undefined, null]);
});

test('refuses a ttl that is none, a value that cannot be carried, and a store without caches', async () => {
  const store = await keyvStore(await storeOf(memory()), { name: 'one' });
  for (const ttl of [Number.NaN, -1, Infinity])
    await expect(store.set('a', 'x', ttl)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(store.set('a', new Map())).rejects.toMatchObject({ code: 'VALUE_UNSUPPORTED' });
  await expect(keyvStore({}, { name: 'x' })).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
});

test('a cache of the same name is another thing', async () => {
  const opened = await storeOf(memory());
  const store = await keyvStore(opened, { name: 'users' });
  await using users = await cache<string, string>({
    name: 'users',
    store: opened,
    load: (key) => `loaded ${key}`,
    ttl: '1m',
  });
  await store.set('ada', 'set');
  expect(await users.get('ada')).toBe('loaded ada');
  await users.invalidateAll();
  expect(await store.get('ada')).toBe('set');
});
