import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { files } from '../../src/stores/files/index.ts';

// Real processes, killed by SIGKILL at every point of the sink: after the batches were applied again
// from the stored checkpoint, each object is what the last batch that wrote it says, and no more.

const applierFile = new URL('./object-applier.ts', import.meta.url).pathname;
const BATCHES = 8;
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tallystick-crash-'));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function apply(workerEpoch: number, crash = ''): Promise<NodeJS.Signals | number | null> {
  const args = ['--disable-warning=ExperimentalWarning', applierFile, dir];
  const env = { ...process.env, NODE_OPTIONS: '', TALLY_CRASH: crash };
  const child = spawn(process.execPath, [...args, String(workerEpoch), String(BATCHES)], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
}

/** What each key must hold, worked out without the sink: the last batch that writes a key decides. */
function expected(batches: number): Record<string, string> {
  const content: Record<string, string> = {};
  for (let id = 0; id < 40; id++) {
    let last = batches - 1;
    if (last % 2 !== id % 2) last -= 1;
    if (last >= 0 && (id + last) % 5 !== 0) content[`items/${id}`] = `key ${id} of batch ${last}`;
  }
  return content;
}

async function held(): Promise<{ log: number; objects: Record<string, string> }> {
  const context = { name: 'check', clock: systemClock, random: systemRandom };
  await using store = await files({ dir }).open(context);
  const objects: Record<string, string> = {};
  for await (const { key } of store.objects.list('')) {
    const got = await store.objects.get(key);
    if (got === undefined) throw new Error(`${key} is listed and not there`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of got.body) chunks.push(chunk);
    objects[key] = Buffer.concat(chunks).toString('utf8');
  }
  return { log: (await store.sink.peek('crash'))?.log ?? 0, objects };
}

test.each([
  'sink.before-apply:3',
  'sink.mid-apply:1',
  'sink.mid-apply:47',
  'sink.after-apply-before-checkpoint:1',
  'sink.after-apply-before-checkpoint:5',
  'sink.after-checkpoint-before-commit:4',
  'sink.after-commit:6',
])('holds exactly what was written after a kill at %s and a replay', async (crash) => {
  expect(await apply(1, crash)).toBe('SIGKILL');
  const left = await held();
  // Whatever the checkpoint claims is there: a key that no later batch wrote is as it claims.
  const claimed = expected(left.log);
  for (const [key, body] of Object.entries(left.objects)) {
    const batch = Number(/of batch (\d+)$/.exec(body)?.[1]);
    expect(batch, key).toBeLessThanOrEqual(left.log);
    if (batch < left.log) expect(body, key).toBe(claimed[key]);
  }
  for (const key of Object.keys(claimed)) {
    // Gone is only what the batch under way deletes.
    const deletes = (Number(key.slice('items/'.length)) + left.log) % 5 === 0;
    if (left.objects[key] === undefined) expect(deletes, key).toBe(true);
  }
  expect(await apply(2)).toBe(0);
  expect(await held()).toEqual({ log: BATCHES, objects: expected(BATCHES) });
  for (const area of ['temporary', 'locks', 'uploads', 'owners'])
    expect(await readdir(join(dir, area)), area).toEqual([]);
});

test('holds exactly what was written after a kill at every batch in turn', async () => {
  for (let epoch = 1; epoch <= 2; epoch++)
    expect(await apply(epoch, 'sink.mid-apply:11')).toBe('SIGKILL');
  expect(await held()).toMatchObject({ log: 0 });
  for (let epoch = 1; epoch < BATCHES; epoch++)
    expect(await apply(BATCHES + epoch, 'sink.mid-apply:25')).toBe('SIGKILL');
  expect(await apply(2 * BATCHES)).toBe(0);
  expect(await held()).toEqual({ log: BATCHES, objects: expected(BATCHES) });
});
