import { probed, resultOf, settled } from 'tallystick/effects';
import type { PostgresStore } from 'tallystick/postgres';
import type { Participant } from '../order.ts';

export async function prepareTable({ client }: PostgresStore): Promise<void> {
  await client.query(
    'CREATE TABLE IF NOT EXISTS orders (id text NOT NULL, customer text NOT NULL, total integer NOT NULL)',
  );
}

/** Confirmed orders in PostgreSQL. */
export function ordersInPostgres({ effects }: PostgresStore): Participant {
  return {
    do: async (key, { id, customer, total }) =>
      resultOf(
        await effects.do(key, async (tx) => {
          await tx.query('INSERT INTO orders VALUES ($1, $2, $3)', [id, customer, total]);
          return { confirmed: id };
        }),
      ),
    undo: async (key, { id }) =>
      settled(
        await effects.undo(key, async (tx) => {
          await tx.query('DELETE FROM orders WHERE id = $1', [id]);
        }),
      ),
    probe: async (key) => probed(await effects.probe(key)),
  };
}
