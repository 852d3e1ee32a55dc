import { expect, test } from 'vitest';
import { hasPostgres, postgresUrl } from '../../test/support/servers.ts';
import { run } from './main.ts';

test.skipIf(!hasPostgres)(
  'an order placed with each client arrives once in the inbox',
  async () => {
    const lines: string[] = [];
    const arrived = await run(postgresUrl(), (line) => lines.push(line));
    const left = lines.some((line) => line.startsWith('prisma: left out'));
    expect(arrived.map(({ payload }) => payload.customer)).toEqual(
      ['pg', 'kysely', 'drizzle', 'prisma'].slice(0, left ? 3 : 4),
    );
    expect(new Set(arrived.map(({ key }) => key)).size).toBe(arrived.length);
    expect(lines.join('\n')).toContain('pg: refused');
  },
  60_000,
);
