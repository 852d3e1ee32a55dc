import { join } from 'node:path';
import { flow, open, put, tally } from '../../src/index.ts';
import { postgres } from '../../src/stores/postgres/index.ts';
import type { Carrier } from './carrier.ts';
import { nullStore } from './null-store.ts';
import { spread, type Spread } from './spread.ts';

/** A flow that streams, and one beside it whose backfill begins when it is asked. */
export interface BackfillCarrier extends Carrier {
  /** From commit to applied, of what was streamed since it was asked last: the server's own time of each commit. */
  lag(): Promise<Spread>;
  /** Lets the second flow begin; resolves once all its rows are applied. */
  backfill(): Promise<{ readonly rows: number; readonly milliseconds: number }>;
}

export async function backfillCarrier(dir: string, url: string): Promise<BackfillCarrier> {
  const go = Promise.withResolvers<void>();
  const filled = Promise.withResolvers<void>();
  let rows = 0;
  let streamed: { readonly id: number; readonly atMs: number }[] = [];
  const copy = nullStore({
    begin: async (name) => {
      if (name === 'history') await go.promise;
    },
    applied: (name, writes, { backfill }) => {
      if (name === 'history') {
        rows += writes.length;
        if (backfill?.state !== 'running') filled.resolve();
        return;
      }
      const atMs = performance.timeOrigin + performance.now();
      for (const { key, mode } of writes)
        if (mode === 'stream') streamed.push({ id: Number(key[0]), atMs });
    },
  });
  const of = (table: string): ReturnType<typeof flow> =>
    flow({
      from: 'orders',
      tables: [table],
      to: 'copy',
      into: table,
      project: (row) => put(table, [row['id'] as number], row),
    });
  const app = await open(
    tally({
      name: 'bench',
      dir: join(dir, 'tally'),
      stores: { orders: postgres({ url }), copy },
      flows: { lines: of('lines'), history: of('history') },
    }),
  );
  const reached = async (offset: number): Promise<void> => {
    for (;;) {
      const { flows } = await app.status();
      if ((flows.find((one) => one.flow === 'lines')?.through?.offset ?? -1) >= offset) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return {
    reach: reached,
    counted: async () => rows,
    lag: async () => {
      const seen = streamed;
      streamed = [];
      const pool = app.stores.orders.client;
      const { rows: commits } = await pool.query<{ id: string; at: number }>(
        `SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 * 1000 AS at FROM lines WHERE id = ANY ($1)`,
        [seen.map(({ id }) => id)],
      );
      const committed = new Map(commits.map(({ id, at }) => [Number(id), at]));
      return spread(seen.map(({ id, atMs }) => atMs - (committed.get(id) ?? atMs)));
    },
    backfill: async () => {
      const startedMs = performance.now();
      go.resolve();
      await filled.promise;
      return { rows, milliseconds: performance.now() - startedMs };
    },
    close: () => {
      go.resolve();
      return app.close();
    },
  };
}
