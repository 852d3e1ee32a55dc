import { describe, expect, test } from 'vitest';
import {
  type MariaServer,
  ServerUnavailable,
  startCassandra,
  startDynamo,
  startInflux,
  startMaria,
  startNats,
  startNeo,
  startOpenSearch,
} from './index.ts';
import { isAlive } from './process.ts';

/** Those that take a minute to fetch and ten seconds to start; their stores' tests start them. */
const heavy = { startCassandra, startDynamo, startNeo, startOpenSearch };
const light = { startInflux, startMaria, startNats };
const all: Readonly<Record<string, () => Promise<MariaServer>>> =
  process.env['TALLY_SERVERS'] === 'all' ? { ...light, ...heavy } : light;

const LIMIT_MS = 400_000;

describe.each(Object.entries(all))('%s', (_name, start) => {
  test(
    'answers, ends when killed, and answers on the same port and data again',
    { timeout: LIMIT_MS },
    async ({ skip }) => {
      await using server = await start().catch((error: unknown) => {
        const isRequired = process.env['TALLY_REQUIRE_SERVERS'] === '1';
        if (error instanceof ServerUnavailable && !isRequired) return skip(error.message);
        throw error;
      });
      const { pid, port, dir } = server;
      await server.kill();
      expect(await isAlive(pid)).toBe(false);
      await server.restart();
      expect(server).toMatchObject({ port, dir });
      expect(await isAlive(server.pid)).toBe(true);
      expect(server.pid).not.toBe(pid);
      expect(server.version).toMatch(/^\d+\.\d+/);
    },
  );
});
