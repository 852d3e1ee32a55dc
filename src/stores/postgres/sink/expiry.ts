import type { Catalogue } from './catalogue.ts';
import type { Host } from './host.ts';
import { targetNames } from './names.ts';
import { readGenerations } from './records.ts';
import { hasTable } from './schema.ts';

/**
 * Removes up to `limit` expired rows of the `keyValue` targets that readers see; returns how many. Each leaves its
 * fence as a tombstone: an older write that arrives late must not bring back what has expired. The flow is locked
 * meanwhile, or such a write could pass before the tombstone is seen.
 */
export async function sweepExpired(
  host: Host,
  catalogue: Catalogue,
  limit: number,
): Promise<number> {
  const expiring = Object.entries(catalogue.targets).filter(([, { kind }]) => kind === 'keyValue');
  if (expiring.length === 0) return 0;
  const schemas = await host.schemas();
  const { own } = schemas;
  const nowMs = host.clock.nowMs();
  const connection = host.writer();
  try {
    const there = await host.database.run(`SELECT to_regclass($1) IS NOT NULL`, [
      `${own}.sink_flows`,
    ]);
    if (there.rows[0]?.[0] !== true) return 0;
    let swept = 0;
    for (const [target] of expiring) {
      if (swept >= limit) break;
      swept += await connection.transaction('SELECT 1', async (tx) => {
        const holder = (await readGenerations(tx, own)).find(({ targets }) =>
          targets.includes(target),
        );
        if (holder === undefined) return 0;
        const [flow] = await tx.query(
          `SELECT generation FROM ${own}.sink_flows WHERE flow = $1 FOR UPDATE`,
          [holder.flow],
        );
        const names = targetNames(schemas, target, Number(flow?.[0]), 'seen');
        if (flow === undefined || !(await hasTable(tx, names))) return 0;
        return tx.execute({
          text: `WITH gone AS (DELETE FROM ${names.table} WHERE key IN
              (SELECT key FROM ${names.table} WHERE expires_at <= to_timestamp($1::float8 / 1000) ORDER BY expires_at, key LIMIT $2)
              RETURNING key, _fence, _ordinal)
            INSERT INTO ${names.tombstones} (key, _fence, _ordinal) SELECT key, _fence, _ordinal FROM gone
            ON CONFLICT (key) DO UPDATE SET _fence = excluded._fence, _ordinal = excluded._ordinal`,
          values: [nowMs, limit - swept],
        });
      });
    }
    return swept;
  } finally {
    await host.release(connection);
  }
}
