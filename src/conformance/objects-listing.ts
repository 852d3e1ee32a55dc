import assert from 'node:assert/strict';
import { bytesOf, refuses, type ObjectsBench, type ObjectsCase } from './objects-harness.ts';

/** Keys that have undone stores before: paths, devices, case, normalisation, order, length. */
const hostileKeys: readonly string[] = [
  '.',
  '..',
  '../x',
  '../../../../tmp/x',
  '/',
  '//',
  '/etc/passwd',
  'a/../b',
  'a/./b',
  './a',
  '~',
  '~/a',
  'a',
  'a/',
  'a//',
  'a/b',
  'a//b',
  'a.',
  'a b',
  ' a',
  'a ',
  'a-b',
  'a0',
  'A',
  'A/b',
  'a.o',
  'a.d',
  'a.c',
  '.d',
  '.o',
  '%',
  '%2e%2e',
  '%2f',
  '%00',
  '%zz',
  'a%2fb',
  'a\\b',
  '..\\x',
  'C:\\x',
  'a:b',
  'a*?"<>|b',
  'con',
  'CON',
  'con.txt',
  'nul',
  'aux/x',
  'com1',
  'lpt9.x',
  '.git',
  '.DS_Store',
  '-rf',
  '--',
  '$(id)',
  '`id`',
  "'; --",
  '\u0000',
  'a\u0000b',
  '\u0001',
  'a\nb',
  'a\tb',
  '\u007f',
  '\u0085',
  '\u202e',
  '\ufeff',
  '\uffff',
  '\u{10ffff}',
  '\u00e9',
  'e\u0301',
  '\u1e9e',
  'ß',
  'ss',
  'ı',
  'i',
  'I',
  'İ',
  '\u{1F600}',
  '\ue000',
  '日本/語',
  '__proto__',
  'constructor',
  'temporary',
  'locks',
  'objects',
  'owners',
  'x'.repeat(79),
  'x'.repeat(80),
  'x'.repeat(81),
  `${'x'.repeat(80)}/`,
  `${'x'.repeat(80)}/y`,
  `${'x'.repeat(80)}.`,
  `${'x'.repeat(80)}0`,
  'x'.repeat(255),
  'x'.repeat(256),
  'X'.repeat(256),
  'x'.repeat(1024),
  'Ü'.repeat(512),
  `${'../'.repeat(341)}x`,
  'a/'.repeat(512),
  '/'.repeat(1024),
];

/** Which keys there may be, and in which order they are listed. */
export const objectListCases: readonly ObjectsCase[] = [
  {
    id: 'OB-020',
    policy: 'keeps every key apart, however hostile, and lists all in byte order',
    run: keepsHostileKeys,
  },
  {
    id: 'OB-021',
    policy: 'refuses what is no key: nothing, too long a text, half a character',
    run: async ({ objects }) => {
      for (const key of ['', 'x'.repeat(1025), 'Ü'.repeat(513), 'a\ud800', '\udc00b']) {
        await refuses(objects.put(key, bytesOf('x')), 'VALUE_UNSUPPORTED');
        await refuses(objects.get(key), 'VALUE_UNSUPPORTED');
        await refuses(objects.head(key), 'VALUE_UNSUPPORTED');
        await refuses(objects.delete(key), 'VALUE_UNSUPPORTED');
      }
    },
  },
  {
    id: 'OB-022',
    policy: 'lists by prefix, which may end anywhere in a key',
    run: async (bench) => {
      for (const key of ['a/1', 'a/10', 'a/2', 'ab', 'b/1', 'a', 'b']) await bench.put(key, key);
      assert.deepEqual(await bench.keys(''), ['a', 'a/1', 'a/10', 'a/2', 'ab', 'b', 'b/1']);
      assert.deepEqual(await bench.keys('a/'), ['a/1', 'a/10', 'a/2']);
      assert.deepEqual(await bench.keys('a/1'), ['a/1', 'a/10']);
      assert.deepEqual(await bench.keys('a'), ['a', 'a/1', 'a/10', 'a/2', 'ab']);
      assert.deepEqual(await bench.keys('c'), []);
      assert.deepEqual(await bench.keys('a/1/'), []);
    },
  },
  {
    id: 'OB-023',
    policy: 'lists after a key, whether or not it is there, and no more than the limit',
    run: async (bench) => {
      for (const key of ['a/1', 'a/2', 'a/3/x', 'a/4', 'b']) await bench.put(key, key);
      assert.deepEqual(await bench.keys('a/', { after: 'a/1' }), ['a/2', 'a/3/x', 'a/4']);
      assert.deepEqual(await bench.keys('a/', { after: 'a/15' }), ['a/2', 'a/3/x', 'a/4']);
      assert.deepEqual(await bench.keys('', { after: 'a/3/', limit: 2 }), ['a/3/x', 'a/4']);
      assert.deepEqual(await bench.keys('', { after: 'a/4' }), ['b']);
      assert.deepEqual(await bench.keys('', { after: 'b' }), []);
      assert.deepEqual(await bench.keys('', { limit: 0 }), []);
      assert.deepEqual(await bench.keys('a', { after: 'A', limit: 1 }), ['a/1']);
    },
  },
  { id: 'OB-024', policy: 'lists the same, page by page, as in one go', run: pagesAlike },
  {
    id: 'OB-025',
    policy: 'lists size, etag and metadata as head tells them',
    run: async (bench) => {
      await bench.objects.put('a', bytesOf('four'), { metadata: { one: '1' } });
      for await (const info of bench.objects.list(''))
        assert.deepEqual({ ...info }, { ...(await bench.objects.head('a')) });
    },
  },
  {
    id: 'OB-026',
    policy: 'ends a list that its reader leaves early, and goes on working',
    run: async (bench) => {
      for (const key of ['a', 'b', 'c']) await bench.put(key, key);
      for await (const { key } of bench.objects.list('')) {
        assert.equal(key, 'a');
        break;
      }
      await bench.objects.delete('b');
      assert.deepEqual(await bench.keys(''), ['a', 'c']);
    },
  },
];

async function keepsHostileKeys(bench: ObjectsBench): Promise<void> {
  const keys = [...new Set(hostileKeys)];
  for (const key of keys) await bench.put(key, `content of ${key}`);
  const sorted = keys.toSorted((left, right) => Buffer.compare(bytesOf(left), bytesOf(right)));
  assert.deepEqual(await bench.keys(''), sorted);
  for (const key of keys) {
    assert.equal(await bench.text(key), `content of ${key}`, JSON.stringify(key));
    assert.equal((await bench.objects.head(key))?.key, key);
  }
  await bench.subject.reopen();
  for (const [index, key] of sorted.entries()) {
    if (index % 2 === 0) assert.equal(await bench.objects.delete(key), true, JSON.stringify(key));
  }
  const rest = sorted.filter((_, index) => index % 2 === 1);
  assert.deepEqual(await bench.keys(''), rest);
  for (const key of rest) assert.equal(await bench.text(key), `content of ${key}`);
}

async function pagesAlike(bench: ObjectsBench): Promise<void> {
  const parts = ['a', 'b-', 'b', 'b0', 'ü', 'Z', '\u{1F600}', '\uffee'];
  const keys = parts.flatMap((one) =>
    parts.flatMap((two) => [`${one}/${two}`, `${one}${two}`, `${one}/${two}/${one}`]),
  );
  const unique = [...new Set(keys)];
  await Promise.all(unique.map((key) => bench.put(key, key)));
  const whole = await bench.keys('');
  const sorted = unique.toSorted((left, right) => Buffer.compare(bytesOf(left), bytesOf(right)));
  assert.deepEqual(whole, sorted);
  const paged: string[] = [];
  for (;;) {
    const after = paged.at(-1);
    const page = await bench.keys('', after === undefined ? { limit: 7 } : { after, limit: 7 });
    if (page.length === 0) break;
    paged.push(...page);
  }
  assert.deepEqual(paged, whole);
}
