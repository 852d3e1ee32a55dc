import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isTallyError } from '../../../core/errors.ts';
import type { Reply } from './reply.ts';
import { ReplyReader } from './reply-reader.ts';

function readAll(chunks: readonly Buffer[]): Reply[] {
  const reader = new ReplyReader();
  return chunks.flatMap((chunk) => {
    reader.push(chunk);
    const replies: Reply[] = [];
    for (let reply = reader.next(); reply !== undefined; reply = reader.next()) replies.push(reply);
    return replies;
  });
}

const flags = fc.array(fc.stringMatching(/^[!-~]{1,12}$/), { maxLength: 4 });

/** What a server sends, with what it means. */
const sent: fc.Arbitrary<{ readonly bytes: Buffer; readonly reply: Reply }> = fc.oneof(
  fc.record({ flags, value: fc.uint8Array({ maxLength: 200 }) }).map((given) => ({
    bytes: Buffer.concat([
      Buffer.from(`VA ${[given.value.length, ...given.flags].join(' ')}\r\n`),
      given.value,
      Buffer.from('\r\n'),
    ]),
    reply: {
      kind: 'meta' as const,
      status: 'VA' as const,
      value: Buffer.from(given.value),
      flags: given.flags,
    },
  })),
  fc
    .record({ flags, status: fc.constantFrom('HD', 'EN', 'NF', 'NS', 'EX', 'MN') })
    .map((given) => ({
      bytes: Buffer.from(`${[given.status, ...given.flags].join(' ')}\r\n`),
      reply: { kind: 'meta' as const, value: undefined, ...given },
    })),
  fc
    .constantFrom('ERROR', 'CLIENT_ERROR bad command line format', 'SERVER_ERROR out of memory')
    .map((text) => ({
      bytes: Buffer.from(`${text}\r\n`),
      reply: { kind: 'error' as const, text },
    })),
  fc.constantFrom('END', 'STAT pid 7', 'OK', 'VERSION 1.6.18').map((text) => ({
    bytes: Buffer.from(`${text}\r\n`),
    reply: { kind: 'line' as const, text },
  })),
);

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted(
    (a, b) => a - b,
  );
  return [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.length));
}

test('gives the same replies however their bytes are cut into chunks', () => {
  fc.assert(
    fc.property(
      fc.array(sent, { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (all, cuts) => {
        const bytes = Buffer.concat(all.map((one) => one.bytes));
        expect(readAll(split(bytes, cuts))).toEqual(all.map(({ reply }) => reply));
      },
    ),
    { numRuns: 500 },
  );
});

test('takes any bytes at all for replies, for a part of one, or for STORE_CORRUPT', () => {
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc
      .constantFrom('VA ', 'VA 3 ', '\r\n', '\n', 'HD ', '-1', '99999999999', 'VA 0\r\n')
      .map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 30 }), (chunks) => {
      try {
        readAll(chunks);
      } catch (error) {
        expect(isTallyError(error, 'STORE_CORRUPT')).toBe(true);
      }
    }),
    { numRuns: 1_000 },
  );
});

test('refuses a line without an end before it holds more than any line can have', () => {
  const reader = new ReplyReader();
  expect(() => {
    for (let sentBytes = 0; sentBytes < 10_000; sentBytes += 100) {
      reader.push(Buffer.alloc(100, 'x'));
      reader.next();
    }
  }).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }));
});

test('refuses a value larger than any item before its bytes come', () => {
  expect(() => readAll([Buffer.from('VA 999999999\r\n')])).toThrow(
    expect.objectContaining({ code: 'STORE_CORRUPT' }),
  );
});

test('refuses a value that does not end where it said', () => {
  expect(() => readAll([Buffer.from('VA 2 c1\r\nabcHD\r\n')])).toThrow(
    expect.objectContaining({ code: 'STORE_CORRUPT' }),
  );
});

test('takes a large value in small chunks in time that grows with its size', () => {
  const size = 16 * 1024 * 1024;
  const bytes = Buffer.concat([
    Buffer.from(`VA ${size}\r\n`),
    Buffer.alloc(size, 1),
    Buffer.from('\r\n'),
  ]);
  const chunks = Array.from({ length: Math.ceil(bytes.length / 4_096) }, (_, index) =>
    bytes.subarray(index * 4_096, (index + 1) * 4_096),
  );
  const began = performance.now();
  const [reply] = readAll(chunks);
  expect(reply?.kind === 'meta' && reply.value?.length).toBe(size);
  // Joined anew with each of its 4,097 chunks it would copy 34 GB.
  expect(performance.now() - began).toBeLessThan(2_000);
});
