import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { open, tally } from 'tallystick';
import { files } from 'tallystick/files';

// Uploads an object of so many MiB in parts, reads it back, and says how much memory that took: in a process
// of its own, whose memory is nobody else's.

const MIB = 2 ** 20;
const PART_MIB = 16;

const [parent = '', megabytes = '1'] = process.argv.slice(2);
const dir = await mkdtemp(join(parent, 'large-object-'));
const app = tally({ name: 'large', dir: join(dir, 'tally'), stores: { objects: files({ dir }) } });
try {
  await using opened = await open(app, { run: false });
  const { objects } = opened.stores.objects;
  const before = process.memoryUsage.rss();
  const written = createHash('sha256');
  const upload = await objects.createMultipart('exports/all-orders.bin');
  for (let part = 1, at = 0; at < Number(megabytes); part += 1, at += PART_MIB)
    await upload.part(part, content(at, Math.min(Number(megabytes), at + PART_MIB), written));
  const { size } = await upload.complete();
  const read = createHash('sha256');
  const object = await objects.get('exports/all-orders.bin');
  for await (const chunk of object?.body ?? []) read.update(chunk);
  const { maxRSS } = process.resourceUsage();
  const grewMib = Math.round((maxRSS * 1_024 - before) / MIB);
  const isSame = written.digest('hex') === read.digest('hex');
  process.stdout.write(JSON.stringify({ size, isSame, grewMib }));
} finally {
  await rm(dir, { recursive: true, force: true });
}

/** Bytes that compress badly and differ everywhere, a MiB at a time, made as they are asked for. */
async function* content(
  from: number,
  to: number,
  hash: ReturnType<typeof createHash>,
): AsyncGenerator<Uint8Array> {
  for (let at = from; at < to; at += 1) {
    const words = new Uint32Array(MIB / 4);
    let word = (at + 1) >>> 0;
    for (let index = 0; index < words.length; index += 1) {
      word ^= word << 13;
      word ^= word >>> 17;
      word ^= word << 5;
      words[index] = word;
    }
    const bytes = new Uint8Array(words.buffer);
    hash.update(bytes);
    yield bytes;
    await Promise.resolve();
  }
}
