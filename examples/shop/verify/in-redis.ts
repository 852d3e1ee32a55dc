import { createClient } from 'redis';
import type { Servers } from '../app.ts';
import type { Boundary, Entry } from './boundaries.ts';
import type { Fault } from './plant.ts';

// The boundaries whose target is in Redis if the shop is on servers: what they hold, and how to spoil it, by
// plain commands of the raw driver.

type Client = ReturnType<typeof createClient>;

interface InRedis {
  /** What the keys begin with, behind the prefix of the shop. */
  readonly target: string;
  readonly read: (client: Client, key: string) => Promise<string>;
  readonly spoil: (client: Client, key: string) => Promise<unknown>;
}

const inRedis: Readonly<Partial<Record<Boundary, InRedis>>> = {
  stock: {
    target: 'stock:',
    read: async (client, key) => {
      const { onHand, soldOut } = await client.hGetAll(key);
      return JSON.stringify([Number(onHand), soldOut === 'true' ? 'sold out' : 'there']);
    },
    spoil: (client, key) => client.hSet(key, 'onHand', '-7'),
  },
  recentOrders: {
    target: 'recentOrders:',
    read: async (client, key) => {
      const { orders } = JSON.parse((await client.get(key)) ?? '{}') as {
        orders?: readonly { id: string; status: string; placedAt: number }[];
      };
      return JSON.stringify(orders?.map(({ id, status, placedAt }) => [id, status, placedAt]));
    },
    spoil: (client, key) => client.set(key, '{"orders":[]}'),
  },
};

export function isInRedis(boundary: Boundary): boolean {
  return inRedis[boundary] !== undefined;
}

/** What a target holds, row by row. */
export async function* redisRows(servers: Servers, boundary: Boundary): AsyncGenerator<Entry> {
  const found = inRedis[boundary];
  if (found === undefined) return;
  const client = await connect(servers);
  try {
    const start = servers.prefix + found.target;
    for (const key of await keysOf(client, start))
      yield [key.slice(start.length), await found.read(client, key)];
  } finally {
    client.destroy();
  }
}

/** Loses, doubles or spoils one row. */
export async function spoilInRedis(
  servers: Servers,
  boundary: Boundary,
  fault: Fault,
): Promise<void> {
  const found = inRedis[boundary];
  if (found === undefined) return;
  const client = await connect(servers);
  try {
    const [key = ''] = await keysOf(client, servers.prefix + found.target);
    switch (fault) {
      case 'lost':
        await client.del(key);
        return;
      case 'doubled':
        await client.copy(key, `${key}-again`);
        return;
      case 'stale':
        await found.spoil(client, key);
        return;
      default:
        return fault satisfies never;
    }
  } finally {
    client.destroy();
  }
}

/** SCAN may answer a key twice: that is no second row. */
async function keysOf(client: Client, start: string): Promise<readonly string[]> {
  const found = new Set<string>();
  for await (const keys of client.scanIterator({ MATCH: `${start}*`, COUNT: 1_000 }))
    for (const key of keys) found.add(key);
  return [...found].toSorted();
}

async function connect({ redisUrl }: Servers): Promise<Client> {
  const client: Client = createClient({ url: redisUrl });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
