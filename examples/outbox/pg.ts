import type { Pool } from 'pg';
import type { NewOrder } from './order.ts';

/** Places an order with the driver itself. One transaction: the order and its message are both there, or neither. */
export async function placeOrder(pool: Pool, { customer, total }: NewOrder): Promise<string> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const { rows } = await client.query<{ id: string }>(
      'INSERT INTO orders (customer, total) VALUES ($1, $2) RETURNING id',
      [customer, total],
    );
    const id = rows[0]?.id ?? '';
    await client.query('INSERT INTO outbox (topic, key, payload) VALUES ($1, $2, $3)', [
      'order-placed',
      id,
      JSON.stringify({ id, customer, total }),
    ]);
    await client.query('COMMIT');
    return id;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}
