import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { EPOCH_MAX, OFFSET_MAX } from '../../src/core/position.ts';
import type { Key, Row } from '../../src/core/row.ts';
import type { Write } from '../../src/core/write.ts';
import { armPoints } from '../../src/observe/point.ts';
import type { SinkReport, SinkSession } from '../../src/ports/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  documents,
  opensearch,
  type OpenSearchOptions,
  type OpenSearchStore,
} from '../../src/stores/opensearch/index.ts';
import { startProxy } from '../../servers/index.ts';
import { testCa, testCertificate } from '../support/certificates.ts';
import {
  askOpenSearch,
  freshOpenSearch,
  hasOpenSearch,
  openSearchUrl,
} from '../support/opensearch.ts';

const context = { name: 'search', clock: systemClock, random: systemRandom };
const closing: (() => PromiseLike<unknown>)[] = [];

afterEach(async () => {
  armPoints(undefined);
  for (const close of closing.splice(0).toReversed()) await close();
});

interface Fresh {
  readonly store: OpenSearchStore;
  readonly prefix: string;
  readonly url: string;
}

/** A store on indices of its own, on the server that all tests share. */
async function shared(options: Partial<OpenSearchOptions> = {}): Promise<Fresh> {
  const fresh = freshOpenSearch();
  closing.push(() => fresh[Symbol.asyncDispose]());
  const { prefix, url } = fresh;
  return { store: await opened({ url, prefix, ...options }), prefix, url };
}

async function opened(options: OpenSearchOptions): Promise<OpenSearchStore> {
  const store = await opensearch(options).open(context);
  closing.push(() => store.close());
  return store;
}

function session(store: OpenSearchStore, workerEpoch = 1, flow = 'shop'): Promise<SinkSession> {
  return store.sink.open({ flow, generation: 1, targets: [{ target: 'items' }], workerEpoch });
}

interface At {
  readonly epoch?: number;
  readonly offset: number;
  readonly mode?: Write['mode'];
}

function write(key: Key, row: Row | null, at: At): Write {
  return { target: 'items', key, row, mode: 'stream', epoch: 1, ordinal: 0, ...at };
}

function apply(to: SinkSession, ...writes: readonly Write[]): Promise<SinkReport> {
  const { epoch = 1, offset = 1 } = writes.at(-1) ?? {};
  return to.apply({
    writes,
    state: [],
    checkpoint: {
      log: offset,
      last: { epoch, offset, ordinal: 0 },
      through: { epoch, offset },
      backfill: undefined,
    },
  });
}

async function found(store: OpenSearchStore): Promise<Readonly<Record<string, Row>>> {
  const rows: Record<string, Row> = {};
  for await (const page of store.scan.scan('items', { rowsMax: 1_000 }))
    for (const { key, row } of page) rows[String(key[0])] = row;
  return rows;
}

async function searched(fresh: Fresh, query: object): Promise<readonly string[]> {
  const { body } = await askOpenSearch(fresh.url, 'POST', `/${fresh.prefix}items/_search`, {
    query,
  });
  return (body as { hits: { hits: { _id: string }[] } }).hits.hits.map(({ _id }) => _id);
}

describe.skipIf(!hasOpenSearch)('rows in OpenSearch', () => {
  test('are documents under their keys, found by native searches, and deleted ones are not', async () => {
    const fresh = await shared({
      targets: { items: documents({ fields: { name: 'text', price: 'long' } }) },
    });
    const held = await session(fresh.store);
    await apply(
      held,
      write(['lamp-1'], { name: 'a green lamp', price: 5 }, { offset: 1 }),
      write(['lamp-2'], { name: 'a red lamp', price: 6 }, { offset: 1 }),
    );
    expect(await searched(fresh, { match: { name: 'green' } })).toEqual(['lamp-1']);
    const { body } = await fresh.store.client.request({
      method: 'GET',
      path: `/${fresh.prefix}items/_doc/lamp-1`,
    });
    expect(body).toMatchObject({ _source: { name: 'a green lamp', price: 5 } });
    await apply(held, write(['lamp-1'], null, { offset: 2 }));
    expect(await searched(fresh, { match_all: {} })).toEqual(['lamp-2']);
  });

  test('are found by a search as soon as the checkpoint says so, without the refresh interval', async () => {
    const settings = { refresh_interval: '-1' };
    const shown = await shared({ targets: { items: documents({ settings }) } });
    await apply(await session(shown.store), write(['a'], { n: 1 }, { offset: 1 }));
    expect(await searched(shown, { match_all: {} })).toEqual(['a']);
    const later = await shared({ targets: { items: documents({ settings }) }, visible: 'get' });
    await apply(await session(later.store), write(['a'], { n: 1 }, { offset: 1 }));
    expect(await searched(later, { match_all: {} })).toEqual([]);
    const { body } = await askOpenSearch(later.url, 'GET', `/${later.prefix}items/_doc/a`);
    expect(body).toMatchObject({ found: true });
  });

  test('keep their order where a tombstone is older than index.gc_deletes, which a plain delete does not', async () => {
    const fresh = await shared();
    const held = await session(fresh.store);
    const index = `/${fresh.prefix}items-g1`;
    await askOpenSearch(fresh.url, 'PUT', `${index}/_settings`, { 'index.gc_deletes': '0ms' });
    await apply(
      held,
      write(['a'], { n: 1 }, { offset: 10 }),
      write(['b'], { n: 1 }, { offset: 10 }),
    );
    await apply(held, write(['a'], null, { offset: 20 }));
    // The control: what is deleted past the coordinator is forgotten, and an old write brings it back.
    await askOpenSearch(
      fresh.url,
      'DELETE',
      `${index}/_doc/b?version=${(1n << 50n) + 20n}&version_type=external`,
    );
    await systemClock.sleep(500);
    expect(await apply(held, write(['a'], { n: 0 }, { offset: 15 }))).toMatchObject({ older: 1 });
    expect(await apply(held, write(['b'], { n: 0 }, { offset: 15 }))).toMatchObject({ applied: 1 });
    expect(await found(fresh.store)).toEqual({ b: { n: 0 } });
  });

  test('carry the fence as version, exact past what a double holds', async () => {
    const fresh = await shared();
    const held = await session(fresh.store);
    const last = { epoch: EPOCH_MAX, offset: OFFSET_MAX - 1 };
    await apply(held, write(['a'], { n: 1 }, last));
    const path = `/${fresh.prefix}items/_doc/a`;
    const { body } = await fresh.store.client.request({ method: 'GET', path });
    expect(body).toMatchObject({ _version: 2n ** 63n - 2n });
  });
});

describe.skipIf(!hasOpenSearch)('what the index refuses', () => {
  const bad: Readonly<Record<string, { row: Row; key?: string; code: string }>> = {
    'a member that is not declared': { row: { other: 1 }, code: 'WRITE_REFUSED' },
    'a value of another type': { row: { n: 'no number' }, code: 'WRITE_REFUSED' },
    '2^63': { row: { n: 2n ** 63n }, code: 'WRITE_REFUSED' },
    NaN: { row: { n: Number.NaN }, code: 'VALUE_UNSUPPORTED' },
    'a member without a name': { row: { '': 1 }, code: 'WRITE_REFUSED' },
    'a name of dots': { row: { '..': 1 }, code: 'WRITE_REFUSED' },
    'the metadata of a document': { row: { _id: 'x' }, code: 'WRITE_REFUSED' },
    "the coordinator's own field": { row: { _tally: 1 }, code: 'WRITE_REFUSED' },
    'a term longer than Lucene takes': { row: { tag: 'x'.repeat(40_000) }, code: 'ROW_TOO_LARGE' },
    'a key longer than an id': { row: { n: 1 }, key: 'k'.repeat(513), code: 'WRITE_REFUSED' },
    'more levels than there may be': { row: nested(250), code: 'VALUE_UNSUPPORTED' },
    'a row over its limit': { row: { text: 'x'.repeat(3_000_000) }, code: 'ROW_TOO_LARGE' },
  };

  test('is reported row by row, with the others of the batch in place', async () => {
    const { store } = await shared({
      rowBytesMax: 2 ** 21,
      targets: { items: documents({ fields: { n: 'long', tag: 'keyword', text: 'text' } }) },
    });
    const held = await session(store);
    for (const [name, { row, key = 'bad', code }] of Object.entries(bad)) {
      const offset = 10 + Object.keys(bad).indexOf(name);
      const good = write([name], { n: 1 }, { offset });
      const report = await apply(held, good, write([key], row, { offset }));
      expect(
        report.failed.map(({ index, error }) => [index, error.code]),
        name,
      ).toEqual([[1, code]]);
      expect(await held.checkpoint()).toMatchObject(offset === 10 ? {} : { log: offset - 1 });
      expect((await apply(held, good)).failed).toEqual([]);
    }
    expect(Object.keys(await found(store)).toSorted()).toEqual(Object.keys(bad).toSorted());
  });

  test('is a mapping that cannot be changed: the flow is told how', async () => {
    const fresh = await shared({ targets: { items: documents({ fields: { n: 'long' } }) } });
    await (await session(fresh.store)).close();
    const targets = { items: documents({ fields: { n: 'text' } }) };
    const other = await opened({ url: fresh.url, prefix: fresh.prefix, targets });
    await expect(session(other, 2)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('tally rebuild'),
    });
    const added = { items: documents({ fields: { n: 'long', name: 'text' } }) };
    const third = await opened({ url: fresh.url, prefix: fresh.prefix, targets: added });
    await apply(await session(third, 2), write(['a'], { n: 1, name: 'x' }, { offset: 1 }));
  });

  test.each(['Upper', 'a b', '-a', 'items-g1', 'tally-flows', 'x'.repeat(201)])(
    'is a target called %s',
    async (target) => {
      const { store } = await shared();
      const opening = store.sink.open({
        flow: 'shop',
        generation: 1,
        targets: [{ target }],
        workerEpoch: 1,
      });
      await expect(opening).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  test('is an index that no flow, or another flow, has made', async () => {
    const fresh = await shared();
    await askOpenSearch(fresh.url, 'PUT', `/${fresh.prefix}items`, {});
    await expect(session(fresh.store)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await askOpenSearch(fresh.url, 'DELETE', `/${fresh.prefix}items`);
    await session(fresh.store);
    await expect(session(fresh.store, 1, 'other')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { other: 'shop' },
    });
  });
});

describe.skipIf(!hasOpenSearch)('a worker that was replaced', () => {
  test('moves no checkpoint, even if it was stopped just before it did', async () => {
    const { store, prefix } = await shared();
    let heir: SinkSession | undefined;
    let armed = false;
    const passAfter = async (...hop: Parameters<typeof pass>): Promise<void> => {
      heir = await session(store, 2);
      pass(...hop);
    };
    const url = await gateway((request, response) => {
      const isCheckpoint = request.method === 'PUT' && request.url?.includes('if_seq_no') === true;
      if (!isCheckpoint || heir !== undefined || !armed) pass(request, response);
      else void passAfter(request, response);
    });
    const zombie = await session(await opened({ url, prefix }), 1);
    await apply(zombie, write(['a'], { n: 1 }, { offset: 1 }));
    armed = true;
    const late = apply(zombie, write(['a'], { n: 2 }, { offset: 99 }));
    await expect(late).rejects.toMatchObject({ code: 'FENCED_OUT', details: { holder: 2 } });
    expect(await heir?.checkpoint()).toMatchObject({ log: 1 });
    // From now on not even a document of it gets in: its alias is gone.
    const { status, body } = await store.client.request({
      method: 'POST',
      path: '/_bulk',
      query: { require_alias: true },
      body: `{"index":{"_index":"${prefix}items-g1-w1","_id":"z"}}\n{}\n`,
    });
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { items: [{ index: { status: 404 } }] },
    });
  });
});

describe.skipIf(!hasOpenSearch)('an index that is not as it was left', () => {
  test('is noticed when it was deleted, also while nothing is written, and is filled anew', async () => {
    const fresh = await shared();
    const idle = await session(fresh.store);
    await apply(idle, write(['a'], { n: 1 }, { offset: 1 }));
    await askOpenSearch(fresh.url, 'DELETE', `/${fresh.prefix}items-g1`);
    await new Promise((resolve) => idle.lost?.addEventListener('abort', resolve));
    expect(idle.lost?.reason).toMatchObject({ code: 'CONDITION_FAILED' });
    const again = await session(fresh.store, 2);
    expect(await again.checkpoint()).toBeUndefined();
    await askOpenSearch(fresh.url, 'DELETE', `/${fresh.prefix}items-g1`);
    await expect(apply(again, write(['a'], { n: 1 }, { offset: 1 }))).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
      retryable: true,
    });
    // Nobody has made an index by writing to a name.
    const { body } = await askOpenSearch(fresh.url, 'GET', `/${fresh.prefix}items*`);
    expect(body).toEqual({});
  });

  test('is noticed when the index of flows was deleted', async () => {
    const fresh = await shared();
    const held = await session(fresh.store);
    await apply(held, write(['a'], { n: 1 }, { offset: 1 }));
    await askOpenSearch(fresh.url, 'DELETE', `/${fresh.prefix}tally-flows-g1`);
    await expect(apply(held, write(['a'], { n: 2 }, { offset: 2 }))).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
    });
    const again = await session(fresh.store, 2);
    expect(await again.checkpoint()).toBeUndefined();
    expect(await apply(again, write(['a'], { n: 2 }, { offset: 2 }))).toMatchObject({ older: 1 });
  });

  test('is refused if what it answers may be lost with the power', async () => {
    const fresh = await shared();
    await (await session(fresh.store)).close();
    const path = `/${fresh.prefix}items-g1/_settings`;
    await askOpenSearch(fresh.url, 'PUT', path, { 'index.translog.durability': 'async' });
    await expect(session(fresh.store, 2)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const findings = await fresh.store.diagnose({ tables: [], targets: ['items'] });
    expect(findings.filter(({ level }) => level === 'fail')).toMatchObject([
      { check: `translog of ${fresh.prefix}items-g1`, remedy: expect.stringContaining('request') },
    ]);
  });

  test('is STORE_FULL with its block by a full disk, and goes on once it is lifted', async () => {
    const fresh = await shared();
    const held = await session(fresh.store);
    const path = `/${fresh.prefix}items-g1/_settings`;
    const block = (value: true | null): Promise<unknown> =>
      askOpenSearch(fresh.url, 'PUT', path, { 'index.blocks.read_only_allow_delete': value });
    await block(true);
    const first = write(['a'], { n: 1 }, { offset: 1 });
    await expect(apply(held, first)).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true });
    const findings = await fresh.store.diagnose({ tables: [], targets: ['items'] });
    expect(findings).toContainEqual(
      expect.objectContaining({ level: 'fail', check: `blocks of ${fresh.prefix}items-g1` }),
    );
    await block(null);
    expect(await apply(held, first)).toMatchObject({ applied: 1 });
  });

  test('is STORE_BUSY while it is closed: no row is parked for it', async () => {
    const fresh = await shared();
    const held = await session(fresh.store);
    await askOpenSearch(fresh.url, 'POST', `/${fresh.prefix}items-g1/_close`);
    const first = write(['a'], { n: 1 }, { offset: 1 });
    await expect(apply(held, first)).rejects.toMatchObject({ code: 'STORE_BUSY', retryable: true });
    await askOpenSearch(fresh.url, 'POST', `/${fresh.prefix}items-g1/_open`);
    expect(await apply(held, first)).toMatchObject({ applied: 1 });
  });
});

describe.skipIf(!hasOpenSearch)('a network that fails', () => {
  test.each(['cut', 'blackhole'] as const)(
    'by %s leaves nothing lost during apply',
    async (how) => {
      const fresh = freshOpenSearch();
      closing.push(() => fresh[Symbol.asyncDispose]());
      await using proxy = await startProxy(Number(new URL(fresh.url).port));
      const url = `http://127.0.0.1:${proxy.port}`;
      const store = await opened({
        url,
        prefix: fresh.prefix,
        timeoutMs: 1_000,
        compression: 'gzip',
      });
      const held = await session(store);
      const writes = Array.from({ length: 2_500 }, (_, key) =>
        write([key], { key }, { offset: 7 }),
      );
      armPoints((name) => {
        if (name !== 'sink.mid-apply') return;
        armPoints(undefined);
        if (how === 'cut') void proxy.cut();
        else proxy.blackhole();
      });
      await expect(apply(held, ...writes)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
      if (how === 'blackhole') await proxy.cut();
      await proxy.heal();
      expect(await held.checkpoint()).toBeUndefined();
      const report = await apply(held, ...writes);
      expect(report.applied + report.older).toBe(writes.length);
      expect(report.older).toBeGreaterThanOrEqual(1_000);
      expect(Object.keys(await found(store))).toHaveLength(writes.length);
    },
  );
});

describe.skipIf(!hasOpenSearch)('a gateway before the server', () => {
  test('asks for a password, which an expired one does not pass', async () => {
    const url = await gateway((request, response) => {
      const right = `Basic ${Buffer.from('shop:sécret').toString('base64')}`;
      if (request.headers.authorization === right) pass(request, response);
      else refuse(response, 401, 'security_exception', 'unable to authenticate user');
    });
    const wrong = opened({ url, auth: { user: 'shop', password: 'old' } });
    await expect(wrong).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      details: { status: 401 },
    });
    await opened({ url, auth: { user: 'shop', password: 'sécret' } });
    await opened({ url: url.replace('//', `//shop:${encodeURIComponent('sécret')}@`) });
  });

  test('speaks TLS, and is trusted only with the certificate of who signed it', async () => {
    const url = await gateway(pass, 'tls');
    await expect(opened({ url })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('opensearch.tls.ca'),
    });
    const plain = opened({ url: url.replace('https', 'http') });
    await expect(plain).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
    await opened({ url, tls: { ca: testCa } });
    const named = opened({ url, tls: { ca: testCa, serverName: 'elsewhere' } });
    await expect(named).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  });

  test('that takes only small requests gets smaller ones, and one row over its limit is ROW_TOO_LARGE', async () => {
    const url = await gateway((request, response) => {
      if (Number(request.headers['content-length']) > 20_000) {
        request.resume();
        response.writeHead(413).end('<html>413</html>');
      } else pass(request, response);
    });
    const { prefix } = await shared();
    const store = await opened({ url, prefix });
    const held = await session(store);
    const rows = Array.from({ length: 100 }, (_, key) =>
      write([key], { text: 'x'.repeat(key === 50 ? 30_000 : 1_000) }, { offset: 3 }),
    );
    const report = await apply(held, ...rows);
    expect(report.failed.map(({ index, error }) => [index, error.code])).toEqual([
      [50, 'ROW_TOO_LARGE'],
    ]);
    expect(report.applied).toBe(99);
  });

  test('that has no room for single items gets those again, and one that answers nonsense is named', async () => {
    let busy = 2;
    let nonsense = false;
    const url = await gateway((request, response) => {
      if (request.url?.startsWith('/_bulk') !== true) pass(request, response);
      else if (nonsense) response.end('<html>');
      else if (busy-- > 0) {
        request.resume();
        const error = { type: 'es_rejected_execution_exception', reason: 'rejected' };
        const refused = { index: { status: 429, error } };
        answer(response, 200, { items: [refused, refused] });
      } else pass(request, response);
    });
    const { prefix } = await shared();
    const held = await session(await opened({ url, prefix }));
    const writes = [write(['a'], { n: 1 }, { offset: 1 }), write(['b'], null, { offset: 1 })];
    expect(await apply(held, ...writes)).toMatchObject({ applied: 2, failed: [] });
    nonsense = true;
    await expect(apply(held, ...writes)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  });

  test('that is no OpenSearch is refused', async () => {
    const url = await gateway((_, response) => answer(response, 200, { hello: 'world' }));
    await expect(opened({ url })).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
  });
});

describe.skipIf(!hasOpenSearch)('a switch of generations', () => {
  test('that died before or after the aliases moved is finished by whoever opens the flow next', async () => {
    const fresh = await shared();
    const { store } = fresh;
    await apply(await session(store), write(['a'], { n: 1 }, { offset: 1 }));
    const targets = [{ target: 'items' }];
    const next = await store.sink.open({ flow: 'shop', generation: 2, targets, workerEpoch: 1 });
    await apply(next, write(['a'], { n: 2 }, { offset: 1 }));
    const flows = `/${fresh.prefix}tally-flows/_doc/shop`;
    const { body } = await askOpenSearch(fresh.url, 'GET', flows);
    const { _source: record } = body as { _source: { state: string } };
    const begun = JSON.stringify({ ...(JSON.parse(record.state) as object), switching: 2 });
    await askOpenSearch(fresh.url, 'PUT', flows, { flow: 'shop', state: begun });
    expect(await store.sink.generation('shop')).toBe(1);
    await store.sink.open({ flow: 'shop', generation: 2, targets, workerEpoch: 2 });
    expect(await store.sink.generation('shop')).toBe(2);
    expect(await found(store)).toEqual({ a: { n: 2 } });
    expect((await askOpenSearch(fresh.url, 'GET', `/${fresh.prefix}items-g1`)).status).toBe(404);
  });
});

test.skipIf(!hasOpenSearch)('vitals are those of the shards', async () => {
  const { store } = await shared();
  await apply(await session(store), write(['a'], { n: 1 }, { offset: 1 }));
  const { system, version, measures } = await store.vitals();
  expect(system).toBe('opensearch');
  expect(version).toMatch(/^\d+\.\d+/);
  const names = measures.map(({ name }) => name.replace(/^.*\]\./, ''));
  for (const name of [
    'documents',
    'segments',
    'translog_uncommitted_operations',
    'max_seq_no',
    'global_checkpoint',
  ])
    expect(names).toContain(name);
});

function nested(levels: number): Row {
  return levels === 0 ? { n: 1 } : { n: nested(levels - 1) };
}

/** A server that answers instead of OpenSearch, or passes on to it. */
async function gateway(
  listener: RequestListener,
  kind: 'plain' | 'tls' = 'plain',
): Promise<string> {
  const server: Server =
    kind === 'tls' ? createHttpsServer(testCertificate, listener) : createHttpServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return `${kind === 'tls' ? 'https' : 'http'}://127.0.0.1:${port}`;
}

function pass(request: IncomingMessage, response: ServerResponse): void {
  const { method, headers, url: path } = request;
  const to = new URL(openSearchUrl());
  const onward = httpRequest(
    { host: to.hostname, port: to.port, method, path, headers },
    (from) => {
      response.writeHead(from.statusCode ?? 502, from.headers);
      from.pipe(response);
    },
  );
  request.pipe(onward);
}

function refuse(response: ServerResponse, status: number, type: string, reason: string): void {
  answer(response, status, { error: { type, reason }, status });
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
