import { DatabaseSync } from 'node:sqlite';
import { tally, type OpenApp, type TallyApp } from 'tallystick';
import { sqlite } from 'tallystick/sqlite';

/** Five stores, each with what it is for; embedded here, servers where it counts. */
export const storeNames = ['products', 'stock', 'reviews', 'prices', 'recommendations'] as const;

/** The application: five stores and no flows, since nothing here is carried between them. */
export function shop(dir: string): TallyApp {
  return tally({
    name: 'product-page',
    dir: `${dir}/state`,
    stores: Object.fromEntries(
      storeNames.map((name) => [name, sqlite({ file: `${dir}/${name}.db` })]),
    ),
    flows: {},
  });
}

/** The native client of one of the stores. */
export function clientOf(app: OpenApp, name: (typeof storeNames)[number]): DatabaseSync {
  return app.stores[name]?.client as DatabaseSync;
}

/** Puts a few products into each. */
export async function fill(app: OpenApp): Promise<void> {
  clientOf(app, 'products').exec(`
    CREATE TABLE products (id TEXT PRIMARY KEY, name TEXT);
    INSERT INTO products VALUES ('lamp-1', 'Reading lamp'), ('desk-1', 'Desk'), ('chair-1', 'Chair')`);
  clientOf(app, 'stock').exec(`
    CREATE TABLE stock (product TEXT PRIMARY KEY, pieces INTEGER);
    INSERT INTO stock VALUES ('lamp-1', 12), ('desk-1', 3), ('chair-1', 0)`);
  clientOf(app, 'reviews').exec(`
    CREATE TABLE reviews (product TEXT, stars INTEGER);
    INSERT INTO reviews VALUES ('lamp-1', 5), ('lamp-1', 4)`);
  clientOf(app, 'prices').exec(`
    CREATE TABLE prices (product TEXT PRIMARY KEY, cents INTEGER);
    INSERT INTO prices VALUES ('lamp-1', 4900), ('desk-1', 29900), ('chair-1', 9900)`);
  clientOf(app, 'recommendations').exec(`
    CREATE TABLE pairs (product TEXT, other TEXT);
    INSERT INTO pairs VALUES ('lamp-1', 'desk-1'), ('lamp-1', 'chair-1')`);
}
