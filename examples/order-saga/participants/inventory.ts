import { probed, resultOf, settled } from 'tallystick/effects';
import { refused } from 'tallystick/saga';
import type { SqliteStore } from 'tallystick/sqlite';
import { STOCK, type Participant } from '../order.ts';

/** Makes the tables, and fills the shelves of a new shop. */
export function prepareInventory({ client }: SqliteStore): void {
  client.exec(`
    CREATE TABLE IF NOT EXISTS items (sku TEXT PRIMARY KEY, left INTEGER NOT NULL);
    -- Without a key, so that the checker would see a reservation that was made twice.
    CREATE TABLE IF NOT EXISTS reservations (order_id TEXT NOT NULL, sku TEXT NOT NULL, count INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS reservations_of_order ON reservations (order_id)`);
  const add = client.prepare('INSERT OR IGNORE INTO items VALUES (?, ?)');
  for (const [sku, count] of Object.entries(STOCK)) add.run(sku, count);
}

/** Stock in SQLite: the marker of a reservation is in its transaction. */
export function inventory({ effects }: SqliteStore): Participant {
  return {
    do: async (key, { id, sku, count }) =>
      resultOf(
        await effects.do(key, (tx) => {
          // Commutative: it does not matter which order of several comes first, as long as enough is left.
          const taken = tx
            .prepare(
              'UPDATE items SET left = left - ?1 WHERE sku = ?2 AND left >= ?1 RETURNING left',
            )
            .get(count, sku);
          if (taken === undefined) throw refused(`not enough ${sku}`);
          tx.prepare('INSERT INTO reservations VALUES (?, ?, ?)').run(id, sku, count);
          return { left: Number(taken['left']) };
        }),
      ),
    undo: async (key, { id, sku, count }) =>
      settled(
        await effects.undo(key, (tx) => {
          tx.prepare('DELETE FROM reservations WHERE order_id = ?').run(id);
          tx.prepare('UPDATE items SET left = left + ? WHERE sku = ?').run(count, sku);
        }),
      ),
    probe: async (key) => probed(await effects.probe(key)),
  };
}
