import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { expect, describe, test } from 'vitest';
import { flow, open, tally } from 'tallystick';
import {
  createOutbox,
  inbox,
  outboxMessages,
  postgres,
  pruneOutbox,
  type PostgresOutboxStore,
  type PostgresStore,
} from 'tallystick/postgres';
import { freshDatabase, hasPostgres } from '../../../../test/support/servers.ts';
import type { StoreDefinition } from '../../../ports/store.ts';

type Capture = 'log' | 'outbox';
const WITHIN = '20s';

/** Gives `work` two databases with a flow from the outbox of one into the inbox of the other. */
async function carried(
  capture: Capture,
  work: (parts: {
    readonly place: (...statements: readonly string[]) => Promise<void>;
    /** What the inbox holds once everything that was written is there. */
    readonly arrived: () => Promise<readonly unknown[]>;
    readonly prune: () => Promise<number>;
    readonly client: Client;
  }) => Promise<void>,
): Promise<void> {
  await using source = await freshDatabase();
  await using target = await freshDatabase();
  const dir = await mkdtemp(join(tmpdir(), 'tally-outbox-'));
  const client = new Client({ connectionString: source.url });
  await client.connect();
  await createOutbox(client, { capture });
  const orders: StoreDefinition<PostgresStore> | StoreDefinition<PostgresOutboxStore> =
    capture === 'log'
      ? postgres({ url: source.url })
      : postgres({ url: source.url, capture: 'outbox' });
  const app = tally({
    name: 'outbox',
    dir,
    stores: { orders, billing: postgres({ url: target.url, targets: { inbox: inbox() } }) },
    flows: {
      messages: flow({
        from: 'orders',
        tables: ['outbox'],
        to: 'billing',
        into: 'inbox',
        deletes: 'ignore',
        project: outboxMessages(),
      }),
    },
  });
  try {
    await using running = await open(app);
    const place = async (...statements: readonly string[]): Promise<void> => {
      await client.query('BEGIN');
      for (const statement of statements) await client.query(statement);
      await client.query('COMMIT');
    };
    const arrived = async (): Promise<readonly unknown[]> => {
      // Evidence of now: everything that other clients have committed is before it.
      const { evidence } = await running.write('orders', () => undefined);
      const { value } = await running.read(
        'billing',
        { after: evidence, within: WITHIN },
        async (pool) => pool.query('SELECT key, payload FROM inbox ORDER BY _fence, _ordinal, ord'),
      );
      return value.rows as readonly unknown[];
    };
    const prune = (): Promise<number> => pruneOutbox(client, { keep: 0 });
    await work({ place, arrived, prune, client });
  } finally {
    await client.end();
    await rm(dir, { recursive: true, force: true });
  }
}

const insert = (key: string, n: number): string =>
  `INSERT INTO outbox (topic, key, payload) VALUES ('orders', '${key}', '{"n": ${n}}')`;

describe.skipIf(!hasPostgres)('messages from an outbox to an inbox', () => {
  test.each(['log', 'outbox'] as const)('by %s: arrive once, in the order of their commits', (by) =>
    carried(by, async ({ place, arrived }) => {
      await place(insert('a', 1), insert('b', 1));
      expect(await arrived()).toHaveLength(2);
      await place(insert('a', 2));
      await place(insert('a', 3));
      expect(await arrived()).toEqual([
        { key: 'a', payload: { n: 1 } },
        { key: 'b', payload: { n: 1 } },
        { key: 'a', payload: { n: 2 } },
        { key: 'a', payload: { n: 3 } },
      ]);
    }),
  );

  test('placed and deleted in one transaction, a message arrives all the same', () =>
    carried('log', async ({ place, arrived }) => {
      await place(insert('a', 1));
      await arrived();
      await place(insert('gone', 1), `DELETE FROM outbox WHERE key = 'gone'`);
      expect(await arrived()).toContainEqual({ key: 'gone', payload: { n: 1 } });
    }));

  test('pruning the outbox takes nothing back that was delivered', () =>
    carried('log', async ({ place, arrived, prune, client }) => {
      await place(insert('a', 1), insert('b', 1));
      expect(await arrived()).toHaveLength(2);
      expect(await prune()).toBe(2);
      expect((await client.query('SELECT FROM outbox')).rowCount).toBe(0);
      await place(insert('c', 1));
      expect(await arrived()).toHaveLength(3);
    }));

  test('a payload of any JSON arrives as it was', () =>
    carried('log', async ({ place, arrived }) => {
      const payloads = [
        '"text"',
        '12',
        'null',
        'true',
        '[1, "a", null]',
        '{"big": 12345678901234}',
      ];
      await place(
        ...payloads.map(
          (payload) => `INSERT INTO outbox (topic, key, payload) VALUES ('any', 'k', '${payload}')`,
        ),
      );
      expect(await arrived()).toEqual(
        payloads.map((payload) => ({ key: 'k', payload: JSON.parse(payload) as unknown })),
      );
    }));
});

test('a way to capture that there is not is refused', () => {
  const options = { url: 'postgres://localhost/x', capture: 'trigger' } as unknown as {
    readonly url: string;
    readonly capture: 'outbox';
  };
  expect(() => postgres(options)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
