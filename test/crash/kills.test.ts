import { describe, expect, test } from 'vitest';
import { hasPostgres, hasRedis } from '../support/servers.ts';
import { runKills } from './kills.ts';
import { noCounts } from './kills-writer.ts';

describe.skipIf(!hasPostgres || !hasRedis)('worker, PostgreSQL and Redis killed under load', () => {
  test(
    'T1 lose, double and move back nothing, and no read is wrongly called fresh',
    { timeout: 240_000 },
    async () => {
      const counts = noCounts();
      const kills = new Map<string, number>();
      await runKills({
        cycles: 5,
        seed: 'a few',
        targets: ['redis', 'postgres'],
        say: () => undefined,
        counts,
        kills,
      });
      expect(counts).toMatchObject({
        lost: 0,
        doubled: 0,
        movedBack: 0,
        wrongFresh: 0,
        lied: 0,
        seen: [],
      });
      expect(counts.writes).toBeGreaterThan(0);
      expect(counts.freshReads).toBeGreaterThan(0);
      // This seed kills each of them.
      expect(kills.get('worker')).toBeGreaterThan(0);
      expect(kills.get('postgres')).toBeGreaterThan(0);
      expect(kills.get('redis')).toBeGreaterThan(0);
    },
  );
});
