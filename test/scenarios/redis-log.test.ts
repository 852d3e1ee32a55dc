import { createClient } from 'redis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startRedis, type RedisServer } from '../../servers/index.ts';
import { redisLog } from '../../src/stores/redis/log/index.ts';
import {
  ask,
  copied,
  inFolder,
  openCopy,
  owned,
  resnapshot,
  stateOf,
  until,
  WITHIN,
  write,
  type CopyOptions,
} from '../support/copy-app.ts';
import { hasRedis } from '../support/servers.ts';

// An application whose log is in a Redis that keeps only what SAVE wrote: a crash takes the rest.

describe.skipIf(!hasRedis)('an application with its log in Redis', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({ settings: { appendonly: 'no' } });
  });
  afterAll(() => server.stop());
  beforeEach(() => native('FLUSHALL'));

  const native = async (...command: string[]): Promise<void> => {
    const client = createClient({ url: server.url });
    await client.connect();
    await client.sendCommand(command);
    client.destroy();
  };
  const options = (): CopyOptions => ({
    app: { log: (lane) => redisLog({ url: server.url, name: lane }) },
  });

  test('carries changes through it, and goes on after a restart of Redis that lost nothing', () =>
    inFolder(async (dir) => {
      await using app = await openCopy(dir, options());
      const first = await write(app, { a: '1', b: '1' });
      expect(await app.barrier('search', { after: first, within: WITHIN })).toEqual({
        kind: 'fresh',
      });
      await native('SAVE');
      await server.kill();
      const meanwhile = await write(app, { a: '2' });
      await server.restart();
      expect(await app.barrier('search', { after: meanwhile, within: WITHIN })).toEqual({
        kind: 'fresh',
      });
      expect(copied(dir)).toEqual(owned(dir));
      // The offsets of the log have made a leap: nobody takes that for work left to do.
      expect((await app.status()).flows).toMatchObject([{ behind: 0 }]);
    }));

  test('names the history lost when Redis has lost what the source was told to forget, and a resnapshot mends it', () =>
    inFolder(async (dir) => {
      await using app = await openCopy(dir, options());
      const first = await write(app, { a: '1' });
      await app.barrier('search', { after: first, within: WITHIN });
      await native('SAVE');
      const lost = await write(app, { a: '2', b: '2' });
      await app.barrier('search', { after: lost, within: WITHIN });
      // The source is told a few times a second; the ledger knows it first.
      const told = JSON.stringify(lost.get('orders')?.map(({ offset }) => offset));
      await until(async () => {
        const confirmed = await app.ledger.get('confirmed', 'orders');
        const { offset } = JSON.parse(confirmed?.value ?? '{}') as { offset?: number };
        return JSON.stringify([offset]) === told ? true : undefined;
      });
      await server.kill();
      await server.restart();
      await write(app, { a: '3' });
      await stateOf(app, 'lane', 'failed', 'HISTORY_LOST');
      expect(await ask(app, resnapshot)).toBe(2);
      const after = await write(app, { c: '4' });
      expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
      expect(copied(dir)).toEqual(owned(dir));
    }));
});
