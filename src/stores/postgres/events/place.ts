import { must } from '../../../core/errors.ts';
import type { Queryable } from '../database.ts';

/** Gives positions to what was committed without; answers the newest position. */
export async function placeWaiting(over: Queryable, schema: string): Promise<number> {
  const [row] = await over.query<{ newest: number }>(`SELECT ${schema}.events_place_1() AS newest`);
  return must(row, 'the newest position').newest;
}
