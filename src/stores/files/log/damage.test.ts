import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { isTallyError } from '../../../core/errors.ts';
import type { Log, LogRecord } from '../../../ports/log.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { segmentLog } from './segment-log.ts';

const context = { name: 'orders', clock: systemClock, random: systemRandom };
const directories: string[] = [];

afterEach(async () => {
  const used = directories.splice(0);
  await Promise.all(used.map((dir) => rm(dir, { recursive: true, force: true })));
});

async function newDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tallystick-damage-'));
  directories.push(dir);
  return dir;
}

function transaction(offset: number): LogRecord[] {
  const part = { epoch: 1, offset } as const;
  return [
    { ...part, kind: 'change', ordinal: 0, payload: `{"t":"t","k":${offset}}` },
    { ...part, kind: 'commit', ordinal: 1, payload: `{"n":1,"at":0,"tok":"ü${offset}"}` },
  ];
}

const records = [1, 2, 3].flatMap(transaction);

async function segmentsIn(dir: string): Promise<string[]> {
  const names = await readdir(dir);
  return names
    .filter((name) => name.endsWith('.seg'))
    .toSorted()
    .map((name) => join(dir, name));
}

/** A log of three acknowledged appends as a crash leaves it, and the file size after each. */
async function crashed(): Promise<{ name: string; bytes: Buffer; sizes: number[] }> {
  const dir = await newDirectory();
  const log = await segmentLog({ dir }).open(context);
  const appender = await log.openAppender(1);
  const sizes: number[] = [];
  const path = (await segmentsIn(dir))[0] ?? '';
  sizes.push((await log.extent()).bytes);
  for (const offset of [1, 2, 3]) {
    await appender.append(transaction(offset));
    sizes.push((await log.extent()).bytes);
  }
  const bytes = await readFile(path);
  await log.close();
  return { name: path.slice(dir.length + 1), bytes, sizes };
}

async function readAll(log: Log): Promise<LogRecord[]> {
  const { first, next } = await log.extent();
  const { signal } = new AbortController();
  const found: LogRecord[] = [];
  for (let from = first; from < next; from += found.length - (from - first)) {
    const batch = await log.read({ from, recordsMax: 1000, bytesMax: 1e6, signal });
    found.push(...batch.records);
  }
  return found;
}

/** Opens what a file has become, appends to it and reads it: the records, or the error that came. */
async function outcome(name: string, bytes: Buffer): Promise<unknown> {
  const dir = await newDirectory();
  await writeFile(join(dir, name), bytes);
  await using log = await segmentLog({ dir, sync: 'os' }).open(context);
  try {
    const appender = await log.openAppender(2);
    await appender.append(transaction(9));
    return await readAll(log);
  } catch (error) {
    return error;
  }
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
  return copy;
}

function isDamage(error: unknown): boolean {
  return (
    isTallyError(error, 'STORE_CORRUPT') &&
    typeof error.details['path'] === 'string' &&
    typeof error.details['byteOffset'] === 'number'
  );
}

test('a last frame cut at any byte is left out, and all before it is kept', async () => {
  const { name, bytes, sizes } = await crashed();
  const [, , second = 0, third = 0] = sizes;
  const expected = [...records.slice(0, 4), ...transaction(9)];
  for (let cut = second; cut < third; cut += 1) {
    expect(await outcome(name, bytes.subarray(0, cut)), `cut at ${cut}`).toEqual(expected);
    // In room that was made before, the rest of the frame is zeros instead of missing.
    const zeros = Buffer.from(bytes).fill(0, cut, third);
    if (zeros.equals(bytes)) continue;
    expect(await outcome(name, zeros), `zeros from ${cut}`).toEqual(expected);
  }
  expect(await outcome(name, bytes)).toEqual([...records, ...transaction(9)]);
});

test('a last frame with any bit wrong, or that is all zeros, is left out', async () => {
  const { name, bytes, sizes } = await crashed();
  const [, , second = 0, third = 0] = sizes;
  const expected = [...records.slice(0, 4), ...transaction(9)];
  for (let at = second; at < third; at += 1)
    expect(await outcome(name, flipped(bytes, at)), `bit of byte ${at}`).toEqual(expected);
  const zeros = Buffer.from(bytes).fill(0, second);
  expect(await outcome(name, zeros)).toEqual(expected);
});

test('a bit wrong in any earlier byte is damage, found on opening or on reading', async () => {
  const { name, bytes, sizes } = await crashed();
  for (let at = 0; at < (sizes[2] ?? 0); at += 1) {
    const found = await outcome(name, flipped(bytes, at));
    expect(isDamage(found), `bit of byte ${at}: ${String(found)}`).toBe(true);
  }
});

test('a bit wrong before a torn frame is damage too', async () => {
  const { name, bytes, sizes } = await crashed();
  const [, first = 0, second = 0, third = 0] = sizes;
  const torn = Buffer.from(bytes).fill(0, third - 1);
  for (let at = first; at < second; at += 1) {
    const found = await outcome(name, flipped(torn, at));
    expect(isDamage(found), `bit of byte ${at}: ${String(found)}`).toBe(true);
  }
});

test('in a log that was closed, a bit wrong in the last frame is damage, not a torn write', async () => {
  const dir = await newDirectory();
  const log = await segmentLog({ dir }).open(context);
  const appender = await log.openAppender(1);
  for (const offset of [1, 2]) await appender.append(transaction(offset));
  const [path = ''] = await segmentsIn(dir);
  const before = (await log.extent()).bytes;
  await appender.append(transaction(3));
  const after = (await log.extent()).bytes;
  await log.close();
  const bytes = await readFile(path);
  for (let at = before; at < after; at += 1) {
    const found = await outcome(path.slice(dir.length + 1), flipped(bytes, at));
    expect(isDamage(found), `bit of byte ${at}: ${String(found)}`).toBe(true);
  }
});

test('a segment that is not the last and ends too early is damage, not a torn write', async () => {
  const source = await newDirectory();
  const log = await segmentLog({ dir: source, segmentBytes: 1024 }).open(context);
  const appender = await log.openAppender(1);
  for (let offset = 1; offset <= 30; offset += 1) await appender.append(transaction(offset));
  await log.close();

  const dir = await newDirectory();
  await cp(source, dir, { recursive: true });
  const [first = ''] = await segmentsIn(dir);
  const bytes = await readFile(first);
  await writeFile(first, bytes.subarray(0, -1));
  await using again = await segmentLog({ dir }).open(context);
  await again.openAppender(2);
  const error: unknown = await readAll(again).catch((thrown: unknown) => thrown);
  expect(isDamage(error)).toBe(true);
  expect(isTallyError(error) && error.details['path']).toBe(first);

  await rm(first);
  await using gone = await segmentLog({ dir }).open(context);
  expect((await gone.extent()).first).toBeGreaterThan(0);
});
