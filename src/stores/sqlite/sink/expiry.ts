import type { Catalogue } from './catalogue.ts';
import type { Host } from './host.ts';
import { quote, targetNames } from './names.ts';

/**
 * Removes expired rows of the targets that readers see; inside a transaction. Each leaves its fence
 * as a tombstone: an older write that arrives late must not bring back what has expired.
 */
export function sweepExpired(
  host: Host,
  catalogue: Catalogue,
  nowMs: number,
  limit: number,
): number {
  let swept = 0;
  for (const [target, { kind }] of Object.entries(catalogue.targets)) {
    const { connection } = host;
    const names = targetNames(target, 0, 'seen');
    const there = connection
      .prepare('SELECT 1 FROM sqlite_schema WHERE name = ?')
      .get(names.tombstones);
    if (kind !== 'keyValue' || there === undefined || swept >= limit) continue;
    const table = quote(names.table);
    const expired = `FROM ${table} WHERE expires_at_ms <= ? ORDER BY expires_at_ms, key LIMIT ?`;
    connection
      .prepare(
        `INSERT OR REPLACE INTO ${quote(names.tombstones)} (key, _fence, _ordinal) SELECT key, _fence, _ordinal ${expired}`,
      )
      .run(nowMs, limit - swept);
    const { changes } = connection
      .prepare(`DELETE FROM ${table} WHERE key IN (SELECT key ${expired})`)
      .run(nowMs, limit - swept);
    swept += Number(changes);
  }
  return swept;
}
