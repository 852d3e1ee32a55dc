import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../../../runtime/random.ts';
import { FrameReader } from './frames.ts';

function frame(letter: string, content: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(letter, 0, 'latin1');
  header.writeUInt32BE(4 + content.length, 1);
  return Buffer.concat([header, content]);
}

function readAll(reader: FrameReader): readonly string[] {
  const found: string[] = [];
  while (reader.next())
    found.push(
      `${String.fromCharCode(reader.type)}${reader.bytes.toString('latin1', reader.start, reader.end)}`,
    );
  return found;
}

describe('messages of the protocol', () => {
  test('are read whole, wherever the socket cuts them', () => {
    const random = seededRandom('frames');
    for (let round = 0; round < 200; round++) {
      const contents = Array.from({ length: 20 }, (_, index) =>
        Buffer.from(String(index).repeat(Math.floor(random.next() ** 4 * 400))),
      );
      const stream = Buffer.concat(contents.map((content) => frame('d', content)));
      const reader = new FrameReader();
      const found: string[] = [];
      for (let at = 0; at < stream.length;) {
        const next = at + 1 + Math.floor(random.next() ** 3 * 300);
        reader.push(stream.subarray(at, next));
        at = next;
        if (random.next() < 0.7) found.push(...readAll(reader));
      }
      found.push(...readAll(reader));
      expect(found).toEqual(contents.map((content) => `d${content.toString()}`));
      expect(reader.buffered).toBe(0);
    }
  });

  test('say how much has to come before the next one can be read', () => {
    const reader = new FrameReader();
    const whole = frame('d', Buffer.alloc(1_000_000));
    reader.push(whole.subarray(0, 3));
    expect(reader.next()).toBe(false);
    reader.push(whole.subarray(3, 500_000));
    expect(reader.next()).toBe(false);
    expect(reader.needed).toBe(whole.length);
    reader.push(whole.subarray(500_000));
    expect(reader.next()).toBe(true);
    expect(reader.needed).toBe(0);
  });
});
