import { afterEach, describe, expect, test } from 'vitest';
import { EPOCH_MAX, OFFSET_MAX, ORDINAL_MAX } from '../../src/core/position.ts';
import type { Key, Row } from '../../src/core/row.ts';
import type { Write } from '../../src/core/write.ts';
import type { SinkReport, SinkSession } from '../../src/ports/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  hash,
  json,
  redis,
  sortedSet,
  type RedisServerOptions,
  type RedisStore,
} from '../../src/stores/redis/index.ts';
import type { RedisClient } from '../../src/stores/redis/index.ts';
import { startRedis, type RedisServer, type RedisSettings } from '../../servers/index.ts';
import { freshRedis, hasRedis } from '../support/servers.ts';

const context = { name: 'cache', clock: systemClock, random: systemRandom };
const closing: (() => PromiseLike<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

type Given = Omit<RedisServerOptions, 'url' | 'cluster'>;

/** A store on keys of its own, on the server that all tests share. */
async function shared(options: Given = {}): Promise<RedisStore<RedisClient>> {
  const fresh = await freshRedis();
  closing.push(() => fresh[Symbol.asyncDispose]());
  return opened({ ...options, url: fresh.url, prefix: fresh.prefix });
}

async function opened(options: RedisServerOptions): Promise<RedisStore<RedisClient>> {
  const store = await redis(options).open(context);
  closing.push(() => store.close());
  return store;
}

async function server(settings: RedisSettings = {}): Promise<RedisServer> {
  const started = await startRedis({ settings });
  closing.push(() => started.stop());
  return started;
}

function session(store: RedisStore, workerEpoch = 1, flow = 'shop'): Promise<SinkSession> {
  return store.sink.open({ flow, generation: 1, targets: [{ target: 'items' }], workerEpoch });
}

interface At {
  readonly epoch?: number;
  readonly offset: number;
  readonly ordinal?: number;
  readonly mode?: Write['mode'];
}

function write(key: Key, row: Row | null, at: At): Write {
  return { target: 'items', key, row, mode: 'stream', epoch: 1, ordinal: 0, ...at };
}

function apply(to: SinkSession, ...writes: readonly Write[]): Promise<SinkReport> {
  const { epoch = 1, offset = 1, ordinal = 0 } = writes.at(-1) ?? {};
  const last = { epoch, offset, ordinal };
  return to.apply({
    writes,
    state: [],
    checkpoint: { log: offset, last, through: { epoch, offset }, backfill: undefined },
  });
}

/** Where the keys of the server stand, without the coordinator's own. */
async function get(store: RedisStore<RedisClient>, ...key: Key): Promise<string | null> {
  return store.client.get(store.rowKey('items', key));
}

describe.skipIf(!hasRedis)('rows in Redis', () => {
  test('are found by native commands where the documentation says', async () => {
    const { url, prefix, ...fresh } = await freshRedis();
    closing.push(() => fresh[Symbol.asyncDispose]());
    const store = await opened({ url, prefix, targets: { items: hash(), users: json() } });
    const open = await store.sink.open({
      flow: 'shop',
      generation: 1,
      targets: [{ target: 'items' }, { target: 'users' }],
      workerEpoch: 1,
    });
    await apply(
      open,
      write(['sku-1'], { name: 'chair', price: 5, zip: '0815', tags: ['a'] }, { offset: 1 }),
      { ...write([7], { name: 'Ann' }, { offset: 1, ordinal: 1 }), target: 'users' },
      { ...write(['a:b', 7], { n: 1 }, { offset: 1, ordinal: 2 }), target: 'users' },
    );
    expect({ ...(await store.client.hGetAll(`${prefix}items:sku-1`)) }).toEqual({
      name: 'chair',
      price: '5',
      zip: '"0815"',
      tags: '["a"]',
    });
    expect(await store.client.get(`${prefix}users:7`)).toBe('{"name":"Ann"}');
    expect(await store.client.get(`${prefix}users:a%3Ab:7`)).toBe('{"n":1}');
    expect(store.rowKey('users', ['a:b', 7])).toBe(`${prefix}users:a%3Ab:7`);
  });

  test('leave no field of the row before, and a sorted set when their group or score changes', async () => {
    const store = await shared({
      targets: { items: sortedSet({ score: 'points', group: 'team' }), plain: hash() },
    });
    const open = await session(store);
    const prefix = store.rowKey('items', ['']).slice(0, -'items:'.length);
    const members = (team: string) => store.client.zRange(`${prefix}items.sorted:${team}`, 0, -1);
    const row = (team: string, points: number | null): Row => ({ team, points });
    await apply(
      open,
      write(['a'], row('red', 3), { offset: 1 }),
      write(['b'], row('red', 1), { offset: 1, ordinal: 1 }),
    );
    expect(await members('red')).toEqual(['b', 'a']);
    await apply(open, write(['a'], row('blue', 2), { offset: 2 }));
    expect([await members('red'), await members('blue')]).toEqual([['b'], ['a']]);
    await apply(
      open,
      write(['b'], row('red', null), { offset: 3 }),
      write(['a'], null, { offset: 3, ordinal: 1 }),
    );
    expect([await members('red'), await members('blue')]).toEqual([[], []]);
    expect(await get(store, 'b')).toBe('{"team":"red","points":null}');
    const bad = await apply(open, write(['c'], { team: 'red', points: 'many' }, { offset: 4 }));
    expect(bad.failed.map(({ error }) => error.code)).toEqual(['WRITE_REFUSED']);
  });

  test('T10 a delete refuses a snapshot row that comes after any time, until its tombstone is pruned', async () => {
    const store = await shared({ targets: { items: json({ ttl: 1 }) } });
    const open = await session(store);
    await apply(
      open,
      write(['a'], { n: 1 }, { offset: 10 }),
      write(['b'], { n: 1 }, { offset: 10, ordinal: 1 }),
    );
    await apply(open, write(['a'], null, { offset: 20 }));
    // The other row has expired by itself: its fence stays as well.
    while ((await get(store, 'b')) !== null) await systemClock.sleep(1);
    const late = { offset: 9, ordinal: ORDINAL_MAX, mode: 'snapshot' } as const;
    const report = await apply(open, write(['a'], { n: 0 }, late), write(['b'], { n: 0 }, late));
    expect(report).toMatchObject({ applied: 0, older: 2 });
    expect(await store.scan.count('items')).toBe(0);
    expect(await open.prune({ epoch: 1, offset: 21 })).toBe(1);
    expect(await apply(open, write(['a'], { n: 0 }, late))).toMatchObject({ applied: 1 });
  });

  test('T11 deletes and inserts of one key end as the source did, in whatever order and batches they come', async () => {
    const store = await shared();
    const open = await session(store);
    const history = [
      write(['k'], { n: 1 }, { offset: 1 }),
      write(['k'], null, { offset: 2 }),
      write(['k'], { n: 3 }, { offset: 2, ordinal: 1 }),
      write(['k'], null, { offset: 3 }),
      write(['k'], { n: 5 }, { offset: 4 }),
    ];
    for (const one of [...history.toReversed(), ...history]) await apply(open, one);
    expect(await get(store, 'k')).toBe('{"n":5}');
    expect(await store.scan.count('items')).toBe(1);
  });

  test('T12 T13 a row that is refused keeps neither the others of its batch nor its key from being written again', async () => {
    const store = await shared({ targets: { items: hash({ fields: { n: 'number' } }) } });
    const open = await session(store);
    const good = write(['a'], { n: 1 }, { offset: 1 });
    const bad = write(['b'], { n: 'one' }, { offset: 1, ordinal: 1 });
    const report = await apply(open, good, bad);
    expect(report.failed.map(({ index, error }) => [index, error.code])).toEqual([
      [1, 'WRITE_REFUSED'],
    ]);
    expect(await open.checkpoint()).toBeUndefined();
    expect(await apply(open, good)).toMatchObject({ applied: 1, failed: [] });
    expect(await apply(open, write(['b'], { n: 2 }, { offset: 2 }))).toMatchObject({ applied: 1 });
    expect(await store.scan.count('items')).toBe(2);
  });

  test('T12 a key that somebody else uses otherwise is refused before anything of the batch is written', async () => {
    const store = await shared({ targets: { items: sortedSet({ score: 'n' }) } });
    const open = await session(store);
    const prefix = store.rowKey('items', ['']).slice(0, -'items:'.length);
    await store.client.set(`${prefix}items.sorted`, 'not a sorted set');
    await expect(apply(open, write(['a'], { n: 1 }, { offset: 1 }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    expect(await get(store, 'a')).toBeNull();
    await store.client.del(`${prefix}items.sorted`);
    expect(await apply(open, write(['a'], { n: 1 }, { offset: 1 }))).toMatchObject({ applied: 1 });
  });

  test('T14 a worker that was replaced can do nothing, however late it wakes', async () => {
    const store = await shared({ buckets: 4 });
    const zombie = await session(store, 7);
    await apply(zombie, write(['a'], { n: 1 }, { offset: 1 }));
    const heir = await session(store, 8);
    const late = write(['a'], { n: 9 }, { offset: 99 });
    await expect(apply(zombie, late)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await expect(zombie.reset()).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await expect(session(store, 7)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    expect(await apply(heir, write(['a'], { n: 2 }, { offset: 2 }))).toMatchObject({ applied: 1 });
    expect(await get(store, 'a')).toBe('{"n":2}');
  });

  test('T21 the winner is decided by positions at epochs 7, 8 and 8191, to the last offset', async () => {
    const store = await shared();
    const open = await session(store);
    const places = [7, 8, EPOCH_MAX].flatMap((epoch) =>
      [1, OFFSET_MAX - 1, OFFSET_MAX].flatMap((offset) =>
        [0, 9, 10, ORDINAL_MAX].map((ordinal) => ({ epoch, offset, ordinal })),
      ),
    );
    for (const [index, at] of places.entries()) {
      expect(await apply(open, write(['a'], { index }, at))).toMatchObject({ applied: 1 });
      const before = places[index - 1];
      if (before !== undefined)
        expect(
          await apply(open, write(['a'], { index: -1 }, { ...before, mode: 'repair' })),
        ).toMatchObject({ older: 1 });
    }
    expect(await get(store, 'a')).toBe(`{"index":${places.length - 1}}`);
  });

  test('T24 rows and checkpoint are there together or not at all, while a reader looks all the time', async () => {
    const store = await shared();
    const open = await session(store);
    const { client } = store;
    const prefix = store.rowKey('items', ['']).slice(0, -'items:'.length);
    const reader = { isDone: false };
    const looking = (async () => {
      while (!reader.isDone) {
        const [first, last, checkpoint] = (await client
          .multi()
          .get(`${prefix}items:k0`)
          .get(`${prefix}items:k99`)
          .hGet(`${prefix}_tally:flow:shop`, 'checkpoint')
          .exec()) as unknown as (string | null)[];
        expect(last).toBe(first);
        if (typeof checkpoint === 'string')
          expect(first).toBe(`{"n":${(JSON.parse(checkpoint) as { log: number }).log}}`);
      }
    })();
    for (let n = 1; n <= 100; n += 1)
      await apply(
        open,
        ...Array.from({ length: 100 }, (_, key) =>
          write([`k${key}`], { n }, { offset: n, ordinal: key }),
        ),
      );
    reader.isDone = true;
    await looking;
  });

  test('T24 a checkpoint that is not the one this session left is never moved on from', async () => {
    const store = await shared();
    const open = await session(store);
    const prefix = store.rowKey('items', ['']).slice(0, -'items:'.length);
    await apply(open, write(['a'], { n: 1 }, { offset: 1 }));
    const record = `${prefix}_tally:flow:shop`;
    const older = await store.client.hGetAll(record);
    await apply(open, write(['b'], { n: 2 }, { offset: 2 }));
    await store.client.hSet(record, older);
    const next = write(['c'], { n: 3 }, { offset: 3 });
    await expect(apply(open, next)).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
      retryable: true,
    });
    await expect(open.prune({ epoch: 1, offset: 9 })).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
    });
    expect(await get(store, 'c')).toBeNull();
    const again = await session(store, 2);
    expect((await again.checkpoint())?.log).toBe(1);
    expect(await apply(again, next)).toMatchObject({ applied: 1 });
  });

  test('T24 a session says by itself that Redis lost what it left, while nothing is applied', async () => {
    const store = await shared();
    const open = await session(store);
    await apply(open, write(['a'], { n: 1 }, { offset: 1 }));
    const { lost } = open;
    expect(lost?.aborted).toBe(false);
    const noticed = new Promise((resolve) => {
      lost?.addEventListener('abort', () => resolve(lost.reason), { once: true });
    });
    await store.client.flushDb();
    expect(await noticed).toMatchObject({ code: 'CONDITION_FAILED' });
  });

  test('refuses a target of another flow, one that was declared otherwise, and other buckets than there were', async () => {
    const fresh = await freshRedis();
    closing.push(() => fresh[Symbol.asyncDispose]());
    const { url, prefix } = fresh;
    await session(await opened({ url, prefix }));
    await expect(session(await opened({ url, prefix }), 1, 'other')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    await expect(
      session(await opened({ url, prefix, targets: { items: hash() } })),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(session(await opened({ url, prefix, buckets: 2 }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

describe.skipIf(!hasRedis)('a Redis of its own', () => {
  test('is refused if it may evict the fences, by its exact remedy, unless that is accepted', async () => {
    const { url } = await server({ maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' });
    const store = await opened({ url });
    await expect(session(store)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('CONFIG SET maxmemory-policy noeviction') as string,
    });
    const findings = await store.diagnose({ tables: [], targets: ['items'] });
    expect(findings.find(({ check }) => check === 'maxmemory-policy')?.level).toBe('fail');
    // Managed servers forbid CONFIG; INFO says the same.
    await store.client.sendCommand([
      'ACL',
      'SETUSER',
      'app',
      'on',
      '>secret',
      '~*',
      '&*',
      '+@all',
      '-config',
    ]);
    const managed = await opened({ url: url.replace('://', '://app:secret@') });
    await expect(session(managed)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect((await managed.vitals()).measures.length).toBeGreaterThan(10);
    await session(await opened({ url, eviction: 'accept' }));
    await store.client.configSet('maxmemory-policy', 'noeviction');
    await session(store);
  });

  test('keeps nothing of a batch for which its memory is too small, and takes it later', async () => {
    const { url } = await server({ 'maxmemory-policy': 'noeviction' });
    const store = await opened({ url, targets: { items: hash() } });
    const open = await session(store);
    await apply(open, write(['a'], { n: 1 }, { offset: 1 }));
    await store.client.configSet('maxmemory', '1mb');
    const next = write(['a'], { n: 2 }, { offset: 2 });
    await expect(apply(open, next)).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true });
    expect({ ...(await store.client.hGetAll('items:a')) }).toEqual({ n: '1' });
    await store.client.configSet('maxmemory', '0');
    expect(await apply(open, next)).toMatchObject({ applied: 1 });
  });

  test('names a replica, a missing password, and an address where nobody is', async () => {
    const master = await server({ requirepass: 'secret' });
    const withPassword = master.url.includes('@')
      ? master.url
      : master.url.replace('://', '://:secret@');
    const replica = await server({ replicaof: `127.0.0.1 ${master.port}`, masterauth: 'secret' });
    const store = await opened({ url: replica.url });
    while (!(await store.client.info('replication')).includes('master_link_status:up'))
      await systemClock.sleep(10);
    await expect(session(store)).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('read-only replica') as string,
    });
    const findings = await store.diagnose({ tables: [], targets: ['items'] });
    expect(findings.find(({ check }) => check === 'role')).toMatchObject({ level: 'fail' });
    await expect(
      redis({ url: withPassword.replace('secret', 'wrong') }).open(context),
    ).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await opened({ url: withPassword });
    await master.stop();
    await expect(redis({ url: withPassword }).open(context)).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    });
  });

  test('as a cluster, spreads its rows over buckets that each keep their own checkpoint', async () => {
    const node = await server({ 'cluster-enabled': 'yes', appendonly: 'no' });
    const alone = await opened({ url: node.url });
    await alone.client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383']);
    while (
      !(await alone.client.sendCommand<string>(['CLUSTER', 'INFO'])).includes('cluster_state:ok')
    )
      await systemClock.sleep(10);
    const store = await redis({ cluster: [node.url], buckets: 16 }).open(context);
    closing.push(() => store.close());
    const open = await session(store);
    const writes = Array.from({ length: 200 }, (_, key) =>
      write([`k${key}`], { key }, { offset: 5, ordinal: key }),
    );
    expect(await apply(open, ...writes)).toMatchObject({ applied: 200 });
    expect(await store.scan.count('items')).toBe(200);
    expect(await store.client.get(store.rowKey('items', ['k7']))).toBe('{"key":7}');
    const slot = Number(await alone.client.sendCommand(['CLUSTER', 'KEYSLOT', 'k7']));
    expect(store.rowKey('items', ['k7'])).toBe(`items:{${slot % 16}}:k7`);
    // One bucket loses its last writes, as when one master of many fails over.
    const lost = store.rowKey('items', ['k7']);
    const [tag = ''] = /\{\d+\}/.exec(lost) ?? [];
    await store.client.del(`_tally:${tag}:flow:shop`);
    await store.client.del(`_tally:${tag}:fences:items`);
    await store.client.del(lost);
    await expect(apply(open, ...writes)).rejects.toMatchObject({ code: 'CONDITION_FAILED' });
    const again = await session(store, 2);
    expect(await again.checkpoint()).toBeUndefined();
    const report = await apply(again, ...writes);
    expect([report.applied > 0, report.applied + report.older]).toEqual([true, 200]);
    expect(await store.client.get(lost)).toBe('{"key":7}');
    expect(again).toBeDefined();
    await expect(again.readState(['x'])).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
    // A client of one server says what is wrong.
    const other = await opened({ url: node.url });
    expect((await store.vitals()).measures.length).toBeGreaterThan(10);
    await expect(other.vitals()).resolves.toBeDefined();
  });
});
