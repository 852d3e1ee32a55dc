import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  flow,
  isTallyError,
  open,
  put,
  tally,
  type Evidence,
  type FlowDefinition,
  type FlowOptions,
  type OpenApp,
  type Row,
  type TallyApp,
} from '../index.ts';
import { evidenceHeaders, withRequestEvidence } from '../http.ts';
import { createMemoryState, memory, type MemoryState } from '../stores/memory/index.ts';
import { leaveRequest, answerTo, type AppRequest } from './requests.ts';
import { systemClock } from '../runtime/clock.ts';
import { systemRandom } from '../runtime/random.ts';

let dir: string;
let source: MemoryState;
let target: MemoryState;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tally-app-'));
  source = createMemoryState();
  target = createMemoryState();
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const tables = { products: { key: ['sku'] }, lines: { key: ['id'] } };

function shop(flows: Record<string, FlowDefinition>) {
  return tally({
    name: 'shop',
    dir,
    stores: { orders: memory({ state: source, tables }), search: memory({ state: target }) },
    flows,
  });
}

function titles(options: Partial<FlowOptions> = {}): FlowDefinition {
  return flow({
    from: 'orders',
    tables: ['products'],
    to: 'search',
    into: 'documents',
    project: (row) => put('documents', [row['sku'] as string], { title: row['title'] ?? null }),
    ...options,
  });
}

type Shop = typeof shop extends (...given: never[]) => TallyApp<infer Declared>
  ? OpenApp<Declared>
  : never;

async function insert(app: Shop, ...rows: readonly Row[]): Promise<Evidence> {
  return (await app.write('orders', (tx) => rows.forEach((row) => tx.put('products', row))))
    .evidence;
}

async function rowsAfter(app: Shop, after: Evidence, name = 'documents'): Promise<readonly Row[]> {
  const read = await app.read('search', { after, within: '5s' }, (client) => [
    ...client.rows(name).values(),
  ]);
  expect(read.freshness).toEqual({ kind: 'fresh' });
  return read.value;
}

async function ask(app: Shop, request: AppRequest): Promise<number | undefined> {
  return answerTo(
    app.ledger,
    systemClock,
    await leaveRequest(app.ledger, systemRandom, request),
    10_000,
  );
}

test('a write reaches the other store, and its evidence can be waited for', async () => {
  await using app = await open(shop({ titles: titles() }));
  const written = await app.write('orders', (tx) => {
    tx.insert('products', { sku: 'a', title: 'Lamp' });
    return 7;
  });
  expect(written.value).toBe(7);
  expect(await rowsAfter(app, written.evidence)).toEqual([{ title: 'Lamp' }]);
});

test('rows that were there before the flow are brought over, updates and deletions follow', async () => {
  {
    await using app = await open(shop({}));
    await app.stores.orders.source.write((tx) => {
      for (let sku = 0; sku < 5_000; sku += 1)
        tx.insert('products', { sku: `s${sku}`, title: `T${sku}` });
    });
  }
  await using app = await open(shop({ titles: titles() }));
  const { evidence } = await app.write('orders', (tx) => {
    tx.put('products', { sku: 's1', title: 'changed' });
    tx.delete('products', ['s2']);
    tx.update('products', ['s3'], { sku: 'moved', title: 'T3' });
  });
  await rowsAfter(app, evidence);
  const rows = app.stores.search.client.rows('documents');
  expect(rows.size).toBe(4_999);
  expect(rows.get('["s1"]')).toEqual({ title: 'changed' });
  expect(rows.has('["s2"]')).toBe(false);
  expect(rows.has('["s3"]')).toBe(false);
  expect(rows.get('["moved"]')).toEqual({ title: 'T3' });
});

test('what a projection no longer puts is removed', async () => {
  const project = (row: Row) =>
    row['hidden'] === true
      ? undefined
      : put('documents', [row['category'] as string, row['sku'] as string], {
          sku: row['sku'] as string,
        });
  await using app = await open(shop({ titles: titles({ project }) }));
  await insert(app, { sku: 'a', category: 'x' }, { sku: 'b', category: 'x' });
  const evidence = await insert(
    app,
    { sku: 'a', category: 'y' },
    { sku: 'b', category: 'x', hidden: true },
  );
  await rowsAfter(app, evidence);
  expect([...app.stores.search.client.rows('documents').keys()]).toEqual(['["y","a"]']);
});

test('a poisoned key is parked, the others go on, and a corrected projection takes it up in order', async () => {
  let poisoned = true;
  const project = (row: Row) => {
    if (poisoned && row['sku'] === 'bad') throw new Error('no such category');
    return put('documents', [row['sku'] as string], { title: row['title'] ?? null });
  };
  const definition = shop({ titles: titles({ project }) });
  {
    await using app = await open(definition);
    await rowsAfter(app, await insert(app, { sku: 'first', title: '1' }));
    await insert(app, { sku: 'bad', title: '1' }, { sku: 'good', title: '1' });
    const evidence = await insert(app, { sku: 'bad', title: '2' });
    const freshness = await app.barrier('search', { after: evidence, within: '5s' });
    expect(freshness.kind).toBe('blocked');
    const about = (key: string) =>
      app.barrier('search', {
        after: evidence,
        within: '5s',
        keys: [{ table: 'products', key: [key] }],
      });
    expect((await about('good')).kind).toBe('fresh');
    expect((await about('bad')).kind).toBe('blocked');
  }
  // The second change comes after a restart: it must queue behind what is parked, although the projection is right now.
  poisoned = false;
  await using app = await open(definition);
  const evidence = await insert(app, { sku: 'bad', title: '3' });
  expect((await app.barrier('search', { after: evidence, within: '2s' })).kind).toBe('blocked');
  await waitFor(async () => ((await app.status()).flows[0]?.parked === 3 ? true : undefined));
  expect([...app.stores.search.client.rows('documents').keys()]).toEqual(['["first"]', '["good"]']);
  expect(
    await ask(app, {
      of: 'flow',
      flow: 'titles',
      request: { kind: 'retry-parked', unit: undefined },
    }),
  ).toBe(3);
  await rowsAfter(app, evidence);
  expect(app.stores.search.client.rows('documents').get('["bad"]')).toEqual({ title: '3' });
});

test('a flow stops at its bound of parked work and drops nothing', async () => {
  const project = (): never => {
    throw new Error('always');
  };
  await using app = await open(shop({ titles: titles({ project, parkedMax: 2 }) }));
  await insert(app, { sku: 'a' }, { sku: 'b' }, { sku: 'c' });
  const failed = await waitFor(async () =>
    (await app.status()).flows.find((status) => status.worker.kind === 'failed'),
  );
  expect(failed.worker).toMatchObject({ kind: 'failed', code: 'PARKED_FULL' });
  expect(failed.behind).toBeGreaterThan(0);
});

test.each([
  ['a number', () => 7],
  ['an undeclared target', () => put('elsewhere', ['a'], {})],
  ['a key with null', () => put('documents', [null], {})],
  ['a row that is a list', () => put('documents', ['a'], [] as unknown as Row)],
])(
  'a projection that returns %s parks the change as PROJECTION_INVALID',
  async (_what, project) => {
    await using app = await open(shop({ titles: titles({ project: project as never }) }));
    await insert(app, { sku: 'a' });
    const records = await waitFor(async () => {
      const found = await app.ledger.list('parked/titles');
      return found.length > 0 ? found : undefined;
    });
    expect(JSON.parse(records[0]?.value ?? '{}')).toMatchObject({
      error: { code: 'PROJECTION_INVALID' },
    });
  },
);

const totals = flow({
  from: 'orders',
  tables: ['lines'],
  to: 'search',
  into: 'totals',
  fold: {
    apply: async ({ before, after }, state) => {
      const group = ((after ?? before) as Row)['group'] as string;
      const total = ((await state.get(group)) as number | undefined) ?? 0;
      const now = total + Number(after?.['amount'] ?? 0) - Number(before?.['amount'] ?? 0);
      state.set(group, now);
      return put('totals', [group], { now });
    },
  },
});

test('a fold counts each change once over a restart, a rebuild and a resnapshot', async () => {
  const definition = shop({ totals });
  const add = async (app: Shop, id: number, amount: number) =>
    (await app.write('orders', (tx) => tx.put('lines', { id, group: 'g', amount }))).evidence;
  {
    await using app = await open(shop({}));
    await app.stores.orders.source.write((tx) =>
      tx.put('lines', { id: 0, group: 'g', amount: 100 }),
    );
  }
  {
    await using app = await open(definition);
    await add(app, 1, 10);
    expect(await rowsAfter(app, await add(app, 1, 20), 'totals')).toEqual([{ now: 120 }]);
  }
  await using app = await open(definition);
  expect(await rowsAfter(app, await add(app, 2, 5), 'totals')).toEqual([{ now: 125 }]);
  expect(await ask(app, { of: 'flow', flow: 'totals', request: { kind: 'rebuild' } })).toBe(2);
  expect(await rowsAfter(app, await add(app, 3, 1), 'totals')).toEqual([{ now: 126 }]);
  expect(await ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' })).toBe(2);
  expect(await rowsAfter(app, await add(app, 4, 4), 'totals')).toEqual([{ now: 130 }]);
});

test('a rebuild runs beside the flow, and readers never miss a row', async () => {
  await using app = await open(shop({ titles: titles() }));
  await insert(app, ...Array.from({ length: 3_000 }, (_, sku) => ({ sku: `s${sku}`, title: 'x' })));
  await rowsAfter(app, await insert(app, { sku: 's0', title: 'y' }));
  const end = { reached: false };
  const rebuilt = ask(app, { of: 'flow', flow: 'titles', request: { kind: 'rebuild' } }).finally(
    () => {
      end.reached = true;
    },
  );
  let writes = 0;
  let after: Evidence = new Map();
  while (!end.reached) {
    after = await insert(app, { sku: `s${writes % 3_000}`, title: `w${writes}` });
    expect(app.stores.search.client.rows('documents').size).toBe(3_000);
    writes += 1;
    await systemClock.sleep(1);
  }
  expect(await rebuilt).toBe(2);
  await rowsAfter(app, after);
  expect(app.stores.search.client.rows('documents').get(`["s${(writes - 1) % 3_000}"]`)).toEqual({
    title: `w${writes - 1}`,
  });
});

test('a history that changed stops the lane until it is accepted; then every row is compared', async () => {
  const definition = shop({ titles: titles() });
  {
    await using app = await open(definition);
    await rowsAfter(
      app,
      await insert(app, { sku: 'a', title: 'old' }, { sku: 'gone', title: 'x' }),
    );
  }
  source.source.history = 'restored';
  source.source.tables.get('products')?.rows.delete('["gone"]');
  source.source.tables.get('products')?.rows.set('["a"]', '{"sku":"a","title":"restored"}');
  await using app = await open(definition);
  const failed = await waitFor(async () =>
    (await app.status()).lanes.find(({ worker }) => worker.kind === 'failed'),
  );
  expect(failed.worker).toMatchObject({ code: 'HISTORY_LOST' });
  const unrelated = await insert(app, { sku: 'b', title: 'new' });
  expect((await app.barrier('search', { after: unrelated, within: 0 })).kind).toBe('incomparable');
  expect(await ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' })).toBe(2);
  expect(await rowsAfter(app, await insert(app, { sku: 'c', title: 'c' }))).toHaveLength(3);
  expect(app.stores.search.client.rows('documents').get('["a"]')).toEqual({ title: 'restored' });
  expect(app.stores.search.client.rows('documents').has('["gone"]')).toBe(false);
});

test('a second worker on one ledger stands by, and takes over when the first stops', async () => {
  const definition = shop({ titles: titles() });
  const first = await open(definition, { owner: 'one', isDead: () => false });
  await rowsAfter(first, await insert(first, { sku: 'a' }));
  await using second = await open(definition, { owner: 'two', isDead: () => false });
  const standing = await waitFor(async () =>
    (await second.status()).flows.find(({ worker }) => worker.kind === 'standby'),
  );
  expect(standing.flow).toBe('titles');
  const there = await insert(second, { sku: 'by the one that stands by' });
  expect((await second.barrier('search', { after: there, within: '5s' })).kind).toBe('fresh');
  await first.close();
  expect(await rowsAfter(second, await insert(second, { sku: 'b' }))).toHaveLength(3);
});

test('a process that runs no flows waits for the checkpoint of the one that does', async () => {
  await using worker = await open(shop({ titles: titles() }));
  await using web = await open(shop({ titles: titles() }), { run: false });
  const evidence = await insert(worker, { sku: 'a' });
  expect((await web.barrier('search', { after: evidence, within: '5s' })).kind).toBe('fresh');
});

test('a barrier says how far it is behind, and fails by code when told to', async () => {
  await using app = await open(shop({ titles: titles() }), { run: false });
  const ahead: Evidence = new Map([['orders', [{ epoch: 1, offset: 999 }]]]);
  expect(await app.barrier('search', { after: ahead, within: '20ms' })).toMatchObject({
    kind: 'timeout',
    seen: [{ flow: 'titles', lane: 'orders' }],
  });
  await expect(app.read('search', { after: ahead, within: 0 }, () => 1)).rejects.toMatchObject({
    code: 'BARRIER_TIMEOUT',
  });
  expect(
    await app.read('search', { after: ahead, within: 0, otherwise: 'stale' }, () => 1),
  ).toMatchObject({ value: 1, freshness: { kind: 'stale' } });
  expect(
    await app.read('search', { after: ahead, within: 0, otherwise: () => 2 }, () => 1),
  ).toMatchObject({ value: 2 });
  const foreign: Evidence = new Map([['elsewhere', [{ epoch: 1, offset: 1 }]]]);
  expect((await app.barrier('search', { after: foreign })).kind).toBe('unsupported');
});

test('declarations that cannot work are refused with the path of the field', async () => {
  const refusal = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      if (isTallyError(error, 'CONFIG_INVALID', 'CONFIG_UNKNOWN_OPTION')) return error.message;
      throw error;
    }
    return 'accepted';
  };
  expect(refusal(() => titles({ to: 'serch', projct: 1 } as never))).toContain('did you mean');
  expect(refusal(() => shop({ titles: titles({ to: 'serch' }) }))).toContain('search');
  expect(refusal(() => shop({ one: titles(), two: titles() }))).toContain('flow one writes too');
  expect(refusal(() => titles({ batchRows: 0 }))).toContain('flow.batchRows');
  const misspelt = open(shop({ titles: titles({ tables: ['product'] }) }));
  await expect(misspelt).rejects.toMatchObject({ code: 'TABLE_UNKNOWN' });
  await expect(misspelt).rejects.toThrow('products');
});

async function waitFor<Found>(look: () => Promise<Found | undefined>): Promise<Found> {
  for (let tries = 0; tries < 500; tries += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await systemClock.sleep(10);
  }
  throw new Error('it never came');
}

test('evidence crosses HTTP: a request reads what an earlier one wrote, and hostile headers change nothing', async () => {
  await using app = await open(shop({ titles: titles() }));
  const server = createServer((request, response) => {
    void withRequestEvidence(
      request,
      async () => {
        if (request.method === 'POST') {
          await app.write('orders', (tx) => tx.put('products', { sku: 'a', title: 'by http' }));
          response.setHeader(
            'baggage',
            evidenceHeaders({ heads: () => app.heads() }).baggage ?? '',
          );
          response.end();
          return;
        }
        const read = await app.read('search', { within: '2s', otherwise: 'stale' }, (client) => [
          ...client.rows('documents').values(),
        ]);
        response.end(
          JSON.stringify({ ...read, passedOn: evidenceHeaders({ heads: () => app.heads() }) }),
        );
      },
      { heads: () => app.heads() },
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  try {
    const { headers } = await fetch(url, { method: 'POST' });
    const baggage = headers.get('baggage') ?? '';
    expect(baggage).toMatch(/^tally-evidence=v1~orders@1\.\d+$/);
    expect(await (await fetch(url, { headers: { baggage } })).json()).toMatchObject({
      freshness: { kind: 'fresh' },
      value: [{ title: 'by http' }],
    });
    const future = 'tally-evidence=v1~orders@1.999999~unknown@7.5';
    const hostile = (await (await fetch(url, { headers: { baggage: future } })).json()) as Record<
      string,
      unknown
    >;
    expect(hostile).toMatchObject({
      freshness: { kind: 'timeout' },
      value: [{ title: 'by http' }],
    });
    expect(JSON.stringify(hostile['passedOn'])).not.toContain('999999');
    const garbage = await fetch(url, { headers: { baggage: 'tally-evidence=v1~../../etc@x.y' } });
    expect(await garbage.json()).toMatchObject({ freshness: { kind: 'fresh' } });
  } finally {
    server.close();
  }
});
