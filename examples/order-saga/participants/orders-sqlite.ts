import { probed, resultOf, settled } from 'tallystick/effects';
import type { SqliteStore } from 'tallystick/sqlite';
import type { Participant } from '../order.ts';

export function prepareOrders({ client }: SqliteStore): void {
  client.exec(
    'CREATE TABLE IF NOT EXISTS orders (id TEXT NOT NULL, customer TEXT NOT NULL, total INTEGER NOT NULL)',
  );
}

/** Confirmed orders in SQLite. */
export function ordersInSqlite({ effects }: SqliteStore): Participant {
  return {
    do: async (key, { id, customer, total }) =>
      resultOf(
        await effects.do(key, (tx) => {
          tx.prepare('INSERT INTO orders VALUES (?, ?, ?)').run(id, customer, total);
          return { confirmed: id };
        }),
      ),
    undo: async (key, { id }) =>
      settled(
        await effects.undo(key, (tx) => void tx.prepare('DELETE FROM orders WHERE id = ?').run(id)),
      ),
    probe: async (key) => probed(await effects.probe(key)),
  };
}
