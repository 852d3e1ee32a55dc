import assert from 'node:assert/strict';
import { isTallyError } from '../core/errors.ts';
import {
  bytesOf,
  refuses,
  streamOf,
  type ObjectsBench,
  type ObjectsCase,
} from './objects-harness.ts';

const conditional: ObjectsCase['when'] = (supports) => supports.conditionalPut;
const unconditional: ObjectsCase['when'] = (supports) => !supports.conditionalPut;
const multipart: ObjectsCase['when'] = (supports) => supports.multipart;
const single: ObjectsCase['when'] = (supports) => !supports.multipart;

/** Conditions that decide races, and uploads in parts. */
export const objectConditionCases: readonly ObjectsCase[] = [
  {
    id: 'OB-030',
    policy: 'creates an object only if there is none, when asked so',
    when: conditional,
    run: async (bench) => {
      await bench.objects.put('a', bytesOf('first'), { ifNoneMatch: '*' });
      await refuses(
        bench.objects.put('a', bytesOf('second'), { ifNoneMatch: '*' }),
        'CONDITION_FAILED',
      );
      assert.equal(await bench.text('a'), 'first');
      await bench.objects.delete('a');
      await bench.objects.put('a', bytesOf('third'), { ifNoneMatch: '*' });
      assert.equal(await bench.text('a'), 'third');
    },
  },
  {
    id: 'OB-030',
    policy: 'refuses conditions, which its manifest does not offer',
    when: unconditional,
    run: async (bench) => {
      for (const condition of [{ ifNoneMatch: '*' }, { ifMatch: '*' }, { ifMatch: 'x' }] as const)
        await refuses(bench.objects.put('a', bytesOf('x'), condition), 'CAPABILITY_MISSING');
      assert.equal(await bench.objects.head('a'), undefined);
      await bench.put('a', 'kept');
      await refuses(bench.objects.delete('a', { ifMatch: 'x' }), 'CAPABILITY_MISSING');
      assert.equal(await bench.text('a'), 'kept');
    },
  },
  {
    id: 'OB-031',
    policy: 'replaces and deletes an object only if it is the one that was seen, when asked so',
    when: conditional,
    run: matches,
  },
  {
    id: 'OB-032',
    policy: 'lets exactly one of many creators win',
    when: conditional,
    run: async (bench) => {
      const attempts = Array.from({ length: 20 }, async (_, index) => {
        try {
          await bench.objects.put('a', streamOf(bytesOf(`of ${index}`)), { ifNoneMatch: '*' });
          return index;
        } catch (error) {
          assert.ok(isTallyError(error, 'CONDITION_FAILED'), String(error));
          return undefined;
        }
      });
      const winners = (await Promise.all(attempts)).filter((index) => index !== undefined);
      assert.equal(winners.length, 1);
      assert.equal(await bench.text('a'), `of ${winners[0]}`);
    },
  },
  {
    id: 'OB-033',
    policy: 'loses no increment of a counter that many change by comparing',
    when: conditional,
    run: async (bench) => {
      await bench.put('counter', '0');
      const increments = Array.from({ length: 8 }, async () => {
        for (let count = 0; count < 5; count++) await increment(bench);
      });
      await Promise.all(increments);
      assert.equal(await bench.text('counter'), '40');
    },
  },
  {
    id: 'OB-040',
    policy:
      'joins parts in the order of their numbers, however they came, and shows nothing before',
    when: multipart,
    run: joinsParts,
  },
  {
    id: 'OB-040',
    policy: 'refuses an upload in parts, which its manifest does not offer',
    when: single,
    run: async ({ objects }) => {
      await refuses(objects.createMultipart('a'), 'CAPABILITY_MISSING');
    },
  },
  {
    id: 'OB-041',
    policy: 'forgets an upload that was aborted, and refuses what comes after its end',
    when: multipart,
    run: async (bench) => {
      await bench.put('a', 'kept');
      const aborted = await bench.objects.createMultipart('a');
      await aborted.part(1, bytesOf('x'));
      await aborted.abort();
      await aborted.abort();
      await refuses(aborted.part(2, bytesOf('y')), 'STORE_CLOSED');
      await refuses(aborted.complete(), 'STORE_CLOSED');
      assert.equal(await bench.text('a'), 'kept');
      const done = await bench.objects.createMultipart('a');
      await done.part(1, bytesOf('new'));
      await done.complete();
      await refuses(done.part(1, bytesOf('late')), 'STORE_CLOSED');
      assert.equal(await bench.text('a'), 'new');
    },
  },
  {
    id: 'OB-042',
    policy: 'completes an upload only if its condition holds, and may be asked again',
    when: (supports) => supports.multipart && supports.conditionalPut,
    run: async (bench) => {
      const { etag } = await bench.put('a', 'first');
      const upload = await bench.objects.createMultipart('a');
      await upload.part(1, bytesOf('second'));
      await refuses(upload.complete({ ifNoneMatch: '*' }), 'CONDITION_FAILED');
      await refuses(upload.complete({ ifMatch: 'another' }), 'CONDITION_FAILED');
      assert.equal(await bench.text('a'), 'first');
      await upload.complete({ ifMatch: etag });
      assert.equal(await bench.text('a'), 'second');
    },
  },
  {
    id: 'OB-043',
    policy: 'refuses an upload without parts, and numbers that are none',
    when: multipart,
    run: async ({ objects }) => {
      const upload = await objects.createMultipart('a');
      for (const number of [0, -1, 1.5, 10_001, Number.NaN])
        await refuses(upload.part(number, bytesOf('x')), 'VALUE_UNSUPPORTED');
      await refuses(upload.complete(), 'VALUE_UNSUPPORTED');
      await upload.abort();
      assert.equal(await objects.head('a'), undefined);
    },
  },
  {
    id: 'OB-044',
    policy: 'keeps uploads to one key apart; the last to complete stands',
    when: multipart,
    run: async (bench) => {
      const [one, two] = await Promise.all([
        bench.objects.createMultipart('a'),
        bench.objects.createMultipart('a'),
      ]);
      assert.notEqual(one.uploadId, two.uploadId);
      await Promise.all([one.part(1, bytesOf('one')), two.part(1, bytesOf('two'))]);
      await two.complete();
      await one.complete();
      assert.equal(await bench.text('a'), 'one');
    },
  },
];

async function matches(bench: ObjectsBench): Promise<void> {
  const { objects } = bench;
  await refuses(objects.put('a', bytesOf('x'), { ifMatch: '*' }), 'CONDITION_FAILED');
  await refuses(objects.put('a', bytesOf('x'), { ifMatch: 'any' }), 'CONDITION_FAILED');
  await refuses(objects.delete('a', { ifMatch: 'any' }), 'CONDITION_FAILED');
  assert.equal(await objects.head('a'), undefined);
  const first = await bench.put('a', 'first');
  const second = await objects.put('a', bytesOf('second'), { ifMatch: first.etag });
  await refuses(objects.put('a', bytesOf('stale'), { ifMatch: first.etag }), 'CONDITION_FAILED');
  await refuses(objects.delete('a', { ifMatch: first.etag }), 'CONDITION_FAILED');
  assert.equal(await bench.text('a'), 'second');
  const third = await objects.put('a', bytesOf('third'), { ifMatch: '*' });
  assert.notEqual(third.etag, second.etag);
  assert.equal(await objects.delete('a', { ifMatch: third.etag }), true);
  await refuses(objects.put('a', bytesOf('x'), { ifMatch: third.etag }), 'CONDITION_FAILED');
  assert.equal(await objects.head('a'), undefined);
}

async function increment(bench: ObjectsBench): Promise<void> {
  for (;;) {
    const info = await bench.objects.head('counter');
    assert.ok(info);
    const text = await bench.text('counter');
    try {
      const next = bytesOf(String(Number(text) + 1));
      await bench.objects.put('counter', next, { ifMatch: info.etag });
      return;
    } catch (error) {
      assert.ok(isTallyError(error, 'CONDITION_FAILED'), String(error));
    }
  }
}

async function joinsParts(bench: ObjectsBench): Promise<void> {
  const upload = await bench.objects.createMultipart('dir/a');
  const part = (number: number): Buffer => Buffer.alloc(70_000 + number, 65 + number);
  await upload.part(11, streamOf(part(11)));
  await upload.part(2, part(9));
  await Promise.all([upload.part(1, part(1)), upload.part(3, streamOf(part(3), part(4)))]);
  const again = await upload.part(2, part(2));
  assert.equal(again.size, part(2).length);
  assert.equal(await bench.objects.head('dir/a'), undefined);
  assert.deepEqual(await bench.keys(''), []);
  const info = await upload.complete({ metadata: { parts: '4' } });
  const whole = Buffer.concat([part(1), part(2), part(3), part(4), part(11)]);
  assert.deepEqual([info.size, { ...info.metadata }], [whole.length, { parts: '4' }]);
  assert.equal(await bench.text('dir/a'), whole.toString('utf8'));
  assert.deepEqual(await bench.keys(''), ['dir/a']);
}
