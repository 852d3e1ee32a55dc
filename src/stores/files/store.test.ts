import { spawn } from 'node:child_process';
import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TallyError } from '../../core/errors.ts';
import type { Row } from '../../core/row.ts';
import type { Write } from '../../core/write.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { filesError } from './errors.ts';
import { files, type FilesOptions, type FilesStore } from './index.ts';

let dir: string;
let store: FilesStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tallystick-files-'));
  store = await open();
});

afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true });
});

function open(options: Partial<FilesOptions> = {}): Promise<FilesStore> {
  const context = { name: 'files', clock: systemClock, random: systemRandom };
  return files({ dir: join(dir, 'store'), ...options }).open(context);
}

async function gather(key: string): Promise<string | undefined> {
  const got = await store.objects.get(key);
  if (got === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of got.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function put(key: string, row: Row | null, offset: number): Write {
  return { target: 'images', key: [key], row, mode: 'stream', epoch: 1, offset, ordinal: 0 };
}

function checkpointAt(offset: number): {
  log: number;
  last: undefined;
  through: undefined;
  backfill: undefined;
} {
  return { log: offset, last: undefined, through: undefined, backfill: undefined };
}

async function openSession(workerEpoch = 1): ReturnType<FilesStore['sink']['open']> {
  return store.sink.open({
    flow: 'f',
    generation: 1,
    targets: [{ target: 'images' }],
    workerEpoch,
  });
}

/** The beginning of the source of another process: it opens the same store. */
function opening(): string {
  const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  return `
    import { files } from ${url('./index.ts')};
    import { systemClock } from ${url('../../runtime/clock.ts')};
    import { systemRandom } from ${url('../../runtime/random.ts')};
    const context = { name: 'worker', clock: systemClock, random: systemRandom };
    const store = await files({ dir: ${JSON.stringify(join(dir, 'store'))} }).open(context);`;
}

test('refuses options that it does not know, or cannot use', () => {
  expect(() => files({ dir, fsnyc: 'os' } as unknown as FilesOptions)).toThrow(
    expect.objectContaining({
      code: 'CONFIG_UNKNOWN_OPTION',
      details: expect.objectContaining({ nearest: 'fsync' }),
    }),
  );
  for (const bad of [{ dir: '' }, { dir, fsync: 'never' }, { dir, rowBytesMax: 1 }])
    expect(() => files(bad as unknown as FilesOptions)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
});

test('says so when its directory is a file', async () => {
  await writeFile(join(dir, 'taken'), '');
  await expect(open({ dir: join(dir, 'taken') })).rejects.toMatchObject({
    code: 'STORE_UNREACHABLE',
    message: expect.stringContaining('a file and not a directory'),
  });
});

test('writes nothing outside of its directory, whatever the key', async () => {
  for (const key of ['../../out', '/etc/out', 'a/../../../out', '..', '.'])
    await store.objects.put(key, Buffer.from(key));
  expect(await readdir(dir)).toEqual(['store']);
  expect((await readdir(join(dir, 'store'))).toSorted()).toEqual([
    'flows',
    'locks',
    'objects',
    'owners',
    'temporary',
    'uploads',
  ]);
});

test('tells a damaged object, and goes on with the others', async () => {
  await store.objects.put('a', Buffer.from('a'.repeat(1000)));
  await store.objects.put('b', Buffer.from('b'));
  const path = join(dir, 'store', 'objects', 'a.o');
  const whole = await readFile(path);
  whole.writeUInt8(0, 10);
  await writeFile(path, whole);
  await expect(gather('a')).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  await truncate(path, 500);
  await expect(store.objects.head('a')).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  await truncate(path, 3);
  await expect(store.objects.get('a')).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  expect(await gather('b')).toBe('b');
  await store.objects.put('a', Buffer.from('mended'));
  expect(await gather('a')).toBe('mended');
});

test('streams an object of 192 MiB, in one piece and in parts, in bounded memory', async () => {
  let most = 0;
  const chunk = Buffer.alloc(1024 * 1024, 'x');
  async function* body(chunks: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let count = 0; count < chunks; count++) {
      most = Math.max(most, process.memoryUsage.rss());
      yield chunk;
    }
  }
  await store.close();
  store = await open({ fsync: 'os' });
  const before = process.memoryUsage.rss();
  await store.objects.put('large', body(192));
  const upload = await store.objects.createMultipart('parts');
  for (const part of [2, 1, 3]) await upload.part(part, body(64));
  await upload.complete();
  for (const key of ['large', 'parts']) {
    let size = 0;
    for await (const piece of (await store.objects.get(key))?.body ?? []) {
      size += piece.byteLength;
      most = Math.max(most, process.memoryUsage.rss());
    }
    expect(size).toBe(192 * chunk.length);
  }
  expect(most - before).toBeLessThan(120 * 1024 * 1024);
  expect((await store.objects.head('large'))?.etag).toBe((await store.objects.head('parts'))?.etag);
});

test('sweeps what a killed process left, and nothing of one that lives', async () => {
  const worker = `
    ${opening()}
    await (await store.objects.createMultipart('a')).part(1, Buffer.from('part'));
    await store.objects.put('a', (async function* () {
      yield Buffer.alloc(100);
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => undefined);
    })());`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', worker], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const signal = await new Promise((resolve) => child.once('exit', (_code, name) => resolve(name)));
  expect(signal).toBe('SIGKILL');
  const living = await store.objects.createMultipart('b');
  await living.part(1, Buffer.from('alive'));
  expect(await store.sweep()).toEqual({ temporaryFiles: 1, uploads: 1, locks: 0 });
  expect(await store.sweep()).toEqual({ temporaryFiles: 0, uploads: 0, locks: 0 });
  await living.complete();
  expect(await gather('b')).toBe('alive');
  expect(await store.objects.head('a')).toBeUndefined();
});

test('says STORE_FULL at the size limit of the process, shows nothing, and leaves no temporary file', async () => {
  const worker = `
    ${opening()}
    const codeOf = (promise) => promise.then(() => 'done', (error) => error.code);
    const large = Buffer.alloc(300_000);
    const session = await store.sink.open({ flow: 'f', generation: 1, targets: [{ target: 't' }], workerEpoch: 1 });
    const write = { target: 't', key: [1], row: { body: large }, mode: 'stream', epoch: 1, offset: 1, ordinal: 0 };
    const checkpoint = { log: 1, last: undefined, through: undefined, backfill: undefined };
    const upload = await store.objects.createMultipart('m');
    console.log(JSON.stringify([
      await codeOf(store.objects.put('a', large)),
      await codeOf(upload.part(1, large)),
      await codeOf(session.apply({ writes: [write], state: [], checkpoint })),
      await codeOf(store.objects.put('small', Buffer.alloc(10))),
      (await session.checkpoint()) ?? null,
    ]));
    await upload.abort();
    await store.close();`;
  // 100 KiB; the signal that the limit raises is ignored, as a full disk raises none.
  const shell = `trap '' XFSZ; ulimit -f 200; exec "$0" --input-type=module -e "$1"`;
  const child = spawn('sh', ['-c', shell, process.execPath, worker], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  for await (const text of child.stdout.setEncoding('utf8')) said += String(text);
  expect(JSON.parse(said)).toEqual(['STORE_FULL', 'STORE_FULL', 'STORE_FULL', 'done', null]);
  const keys: string[] = [];
  for await (const { key } of store.objects.list('')) keys.push(key);
  expect(keys).toEqual(['small']);
  expect(await readdir(join(dir, 'store', 'temporary'))).toEqual([]);
});

test('loses no increment of a counter that several processes change by comparing', async () => {
  await store.objects.put('counter', Buffer.from('0'));
  const worker = `
    ${opening()}
    for (let count = 0; count < 25; ) {
      const got = await store.objects.get('counter');
      const chunks = [];
      for await (const chunk of got.body) chunks.push(chunk);
      const next = Buffer.from(String(Number(Buffer.concat(chunks)) + 1));
      try {
        await store.objects.put('counter', next, { ifMatch: got.info.etag });
        count += 1;
      } catch (error) {
        if (error.code !== 'CONDITION_FAILED') throw error;
      }
    }
    await store.close();`;
  const codes = await Promise.all(
    [1, 2, 3].map(async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', worker], {
        env: { ...process.env, NODE_OPTIONS: '' },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      return new Promise((resolve) => child.once('exit', resolve));
    }),
  );
  expect(codes).toEqual([0, 0, 0]);
  expect(await gather('counter')).toBe('75');
  expect(await readdir(join(dir, 'store', 'locks'))).toEqual([]);
});

test.each([
  ['ENOSPC', 'STORE_FULL', true],
  ['EDQUOT', 'STORE_FULL', true],
  ['EIO', 'STORE_UNREACHABLE', true],
  ['ENAMETOOLONG', 'VALUE_UNSUPPORTED', false],
])('maps %s to %s', (code, wanted, retryable) => {
  const error = filesError(Object.assign(new Error(code), { code, syscall: 'write' }), 'here');
  expect(error).toBeInstanceOf(TallyError);
  expect(error).toMatchObject({ code: wanted, retryable });
});

test('keeps rows with a body as the object itself, and hides what was deleted', async () => {
  const session = await openSession();
  const report = await session.apply({
    writes: [
      put('text', { body: 'text', contentType: 'text/plain', metadata: { one: '1' } }, 1),
      put('bytes', { body: new Uint8Array([0, 255]) }, 1),
      put('row', { id: 7n }, 1),
      put('gone', null, 1),
      put('extra', { body: 'x', price: 1 }, 1),
      put('number', { body: 1 }, 1),
    ],
    state: [],
    checkpoint: checkpointAt(1),
  });
  expect(report.failed.map(({ index, error }) => [index, error.code])).toEqual([
    [4, 'VALUE_UNSUPPORTED'],
    [5, 'VALUE_UNSUPPORTED'],
  ]);
  expect(await gather('images/text')).toBe('text');
  expect((await store.objects.head('images/text'))?.metadata).toEqual({
    one: '1',
    'content-type': 'text/plain',
  });
  expect(await gather('images/row')).toBe('{"id":{"$i":"7"}}');
  expect(await store.objects.get('images/gone')).toBeUndefined();
  expect(await store.objects.delete('images/gone')).toBe(false);
  const measures = new Map((await store.vitals()).measures.map(({ name, value }) => [name, value]));
  expect([measures.get('objects'), measures.get('tombstones'), measures.get('counted')]).toEqual([
    4,
    1,
    'all',
  ]);
  expect(await session.prune({ epoch: 1, offset: 9 })).toBe(1);
  await session.close();
});

test('stops a worker that is replaced while it writes at its checkpoint', async () => {
  const zombie = await openSession(1);
  const writes = Array.from({ length: 400 }, (_, index) => put(`k${index}`, { n: index }, 1));
  const applying = zombie.apply({ writes, state: [], checkpoint: checkpointAt(1) });
  const heir = await openSession(2);
  await expect(applying).rejects.toMatchObject({ code: 'FENCED_OUT' });
  expect(await heir.checkpoint()).toBeUndefined();
  await heir.apply({ writes, state: [], checkpoint: checkpointAt(1) });
  expect(await heir.checkpoint()).toMatchObject({ log: 1 });
});

test('leaves foreign files in its directory alone', async () => {
  await store.objects.put('a/b', Buffer.from('x'));
  await appendFile(join(dir, 'store', 'objects', 'a.d', '.DS_Store'), 'x');
  const keys: string[] = [];
  for await (const { key } of store.objects.list('')) keys.push(key);
  expect(keys).toEqual(['a/b']);
  expect(await store.objects.delete('a/b')).toBe(true);
  expect(await readdir(join(dir, 'store', 'objects', 'a.d'))).toEqual(['.DS_Store']);
});
