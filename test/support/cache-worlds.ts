import { postgres } from 'tallystick/postgres';
import { redis } from 'tallystick/redis';
import { embeddedWorld, ITEMS, type World } from './cache-flow.ts';
import { ask } from './postgres-app.ts';
import { freshDatabase, freshRedis, hasPostgres, hasRedis } from './servers.ts';

/** PostgreSQL to Redis. */
async function serverWorld(): Promise<World> {
  const owner = await freshDatabase();
  const shelf = await freshRedis();
  await ask(owner.url, ITEMS);
  return {
    stores: { shop: postgres({ url: owner.url }), shelf: redis({ url: shelf.url }) },
    run: async (text) => void (await ask(owner.url, text)),
    name: async (id) =>
      (await ask(owner.url, `SELECT name FROM items WHERE id = ${Number(id)}`))[0]?.['name'] as
        string | undefined,
    async [Symbol.asyncDispose]() {
      await owner[Symbol.asyncDispose]();
      await shelf[Symbol.asyncDispose]();
    },
  };
}

export const worlds: Readonly<
  Record<string, { readonly isThere: boolean; readonly open: (dir: string) => Promise<World> }>
> = {
  'SQLite to SQLite': { isThere: true, open: embeddedWorld },
  'PostgreSQL to Redis': { isThere: hasPostgres && hasRedis, open: serverWorld },
};
