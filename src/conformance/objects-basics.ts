import assert from 'node:assert/strict';
import {
  bytesOf,
  gather,
  refuses,
  streamOf,
  type ObjectsBench,
  type ObjectsCase,
} from './objects-harness.ts';

/** Content in, content out: whole, streamed, in ranges, replaced, failed, closed. */
export const objectBasicCases: readonly ObjectsCase[] = [
  {
    id: 'OB-001',
    policy: 'shows the manifest that it was announced with',
    run: async (bench) => {
      assert.deepEqual({ ...bench.objects.supports }, { ...bench.supports });
    },
  },
  {
    id: 'OB-002',
    policy: 'gives back bytes and metadata as they were put, the empty object included',
    run: async ({ objects }) => {
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
      const metadata = { 'content-type': 'image/png', Größe: 'größer\n', empty: '' };
      const info = await objects.put('a', bytes, { metadata });
      assert.deepEqual([info.key, info.size, { ...info.metadata }], ['a', 256, metadata]);
      const got = await objects.get('a');
      assert.deepEqual({ ...got?.info }, { ...info });
      assert.deepEqual({ ...(await objects.head('a')) }, { ...info });
      assert.ok(got && (await gather(got.body)).equals(bytes));
      assert.equal((await objects.put('none', new Uint8Array())).size, 0);
      const none = await objects.get('none');
      assert.equal(none && (await gather(none.body)).length, 0);
    },
  },
  {
    id: 'OB-003',
    policy: 'keeps the content that was put, whatever becomes of the buffer afterwards',
    run: async (bench) => {
      const bytes = Buffer.from('before');
      await bench.objects.put('a', bytes);
      bytes.fill(0);
      assert.equal(await bench.text('a'), 'before');
    },
  },
  {
    id: 'OB-004',
    policy: 'replaces content and metadata together, and changes the etag with the content',
    run: async (bench) => {
      const first = await bench.objects.put('a', bytesOf('first'), { metadata: { one: '1' } });
      const second = await bench.objects.put('a', bytesOf('other'), { metadata: { two: '2' } });
      assert.notEqual(first.etag, second.etag);
      const got = await bench.objects.head('a');
      assert.deepEqual([got?.etag, { ...got?.metadata }], [second.etag, { two: '2' }]);
      assert.equal(await bench.text('a'), 'other');
    },
  },
  {
    id: 'OB-005',
    policy:
      'has no object where none was put, and none after a delete, which says whether there was one',
    run: async (bench) => {
      assert.equal(await bench.objects.get('a'), undefined);
      assert.equal(await bench.objects.head('a'), undefined);
      assert.equal(await bench.objects.delete('a'), false);
      await bench.put('a', 'x');
      assert.equal(await bench.objects.delete('a'), true);
      assert.equal(await bench.objects.delete('a'), false);
      assert.equal(await bench.objects.get('a'), undefined);
      await bench.put('a', 'again');
      assert.equal(await bench.text('a'), 'again');
    },
  },
  {
    id: 'OB-006',
    policy: 'takes a stream in chunks of any size, empty ones included',
    run: async ({ objects }) => {
      const chunks = [0, 1, 7, 65_536, 0, 300_001, 2 ** 21 + 3].map((length, index) =>
        Buffer.alloc(length, index + 1),
      );
      const info = await objects.put('a', streamOf(...chunks));
      const whole = Buffer.concat(chunks);
      assert.equal(info.size, whole.length);
      const got = await objects.get('a');
      assert.ok(got && (await gather(got.body)).equals(whole));
    },
  },
  {
    id: 'OB-007',
    policy: 'reads ranges of small and large objects, cut at the end',
    run: readsRanges,
  },
  {
    id: 'OB-008',
    policy: 'refuses a range that is none',
    run: async ({ objects }) => {
      await objects.put('a', bytesOf('0123456789'));
      for (const range of [
        { start: -1 },
        { start: 1.5 },
        { start: 5, end: 4 },
        { start: Number.NaN },
      ])
        await refuses(objects.get('a', { range }), 'VALUE_UNSUPPORTED');
    },
  },
  {
    id: 'OB-009',
    policy: 'lets a reader that has begun finish the object it began with',
    run: async (bench) => {
      const old = Buffer.alloc(3 * 2 ** 20, 'o');
      await bench.objects.put('a', old);
      const got = await bench.objects.get('a');
      await bench.put('a', 'new');
      assert.ok(got && (await gather(got.body)).equals(old));
      assert.equal(await bench.text('a'), 'new');
    },
  },
  {
    id: 'OB-010',
    policy: 'never shows a mixture, a gap or a part while an object is being replaced',
    run: showsWhole,
  },
  {
    id: 'OB-011',
    policy: 'keeps nothing of a put whose body throws, and passes on what was thrown',
    run: async (bench) => {
      await bench.put('a', 'kept');
      const thrown = new Error('the body broke');
      async function* breaking(): AsyncGenerator<Uint8Array, void, undefined> {
        yield Buffer.alloc(2 ** 21, 'x');
        throw thrown;
      }
      for (const key of ['a', 'b'])
        await assert.rejects(bench.objects.put(key, breaking()), (error) => error === thrown);
      assert.equal(await bench.text('a'), 'kept');
      assert.deepEqual(await bench.keys(''), ['a']);
    },
  },
  {
    id: 'OB-012',
    policy: 'keeps nothing of a put that its caller gives up',
    run: async (bench) => {
      const abort = new AbortController();
      async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
        for (let count = 0; ; count++) {
          if (count === 3) abort.abort();
          yield Buffer.alloc(1024);
        }
      }
      await refuses(bench.objects.put('a', endless(), { signal: abort.signal }), 'ABORTED');
      await refuses(bench.objects.put('a', bytesOf('x'), { signal: abort.signal }), 'ABORTED');
      assert.deepEqual(await bench.keys(''), []);
    },
  },
  {
    id: 'OB-013',
    policy: 'still holds its objects after it was opened again',
    run: async (bench) => {
      const info = await bench.objects.put('a/b', bytesOf('kept'), { metadata: { one: '1' } });
      await bench.put('gone', 'x');
      await bench.objects.delete('gone');
      await bench.subject.reopen();
      assert.deepEqual({ ...(await bench.objects.head('a/b')) }, { ...info });
      assert.equal(await bench.text('a/b'), 'kept');
      assert.deepEqual(await bench.keys(''), ['a/b']);
    },
  },
  {
    id: 'OB-014',
    policy: 'refuses every step after it was closed',
    run: async ({ subject }) => {
      const { objects } = subject;
      await objects.put('a', bytesOf('x'));
      await subject.close();
      await refuses(objects.put('a', bytesOf('y')), 'STORE_CLOSED');
      await refuses(objects.get('a'), 'STORE_CLOSED');
      await refuses(objects.head('a'), 'STORE_CLOSED');
      await refuses(objects.delete('a'), 'STORE_CLOSED');
      await refuses(objects.list('')[Symbol.asyncIterator]().next(), 'STORE_CLOSED');
    },
  },
  {
    id: 'OB-015',
    policy: 'refuses metadata that is not text',
    run: async ({ objects }) => {
      const metadata = { size: 7 as unknown as string };
      await refuses(objects.put('a', bytesOf('x'), { metadata }), 'VALUE_UNSUPPORTED');
      assert.equal(await objects.head('a'), undefined);
    },
  },
];

async function readsRanges({ objects }: ObjectsBench): Promise<void> {
  for (const size of [10, 700_000]) {
    const whole = Buffer.from(Array.from({ length: size }, (_, index) => (index * 7) % 251));
    await objects.put('a', whole);
    const ranges = [
      { start: 0 },
      { start: 0, end: 1 },
      { start: 3, end: 7 },
      { start: size - 1 },
      { start: size - 4, end: size + 100 },
      { start: 0, end: 0 },
      { start: size },
      { start: size + 5, end: size + 9 },
      { start: 1, end: size - 1 },
    ];
    for (const range of ranges) {
      const got = await objects.get('a', { range });
      assert.equal(got?.info.size, size, 'the size is that of the object, not of the range');
      const wanted = whole.subarray(range.start, range.end ?? size);
      const name = `${range.start} to ${range.end ?? 'the end'} of ${size}`;
      assert.ok(got && (await gather(got.body)).equals(wanted), name);
    }
  }
}

async function showsWhole(bench: ObjectsBench): Promise<void> {
  const size = 200_000;
  const content = (round: number): Buffer => Buffer.alloc(size + round, 65 + (round % 26));
  await bench.objects.put('a', content(0), { metadata: { round: '0' } });
  const state = { writing: true };
  const write = async (): Promise<void> => {
    for (let round = 1; round <= 25; round++)
      await bench.objects.put('a', content(round), { metadata: { round: String(round) } });
    state.writing = false;
  };
  const read = async (): Promise<void> => {
    while (state.writing) {
      const got = await bench.objects.get('a');
      assert.ok(got, 'the object was gone while it was being replaced');
      const wanted = content(Number(got.info.metadata['round']));
      assert.equal(got.info.size, wanted.length);
      assert.ok((await gather(got.body)).equals(wanted), 'a body of another object, or of two');
    }
  };
  await Promise.all([write(), read(), read()]);
}
