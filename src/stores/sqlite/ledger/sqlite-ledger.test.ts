import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Ledger, LedgerOperation } from '../../../ports/ledger.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { seededRandom } from '../../../runtime/random.ts';
import { NAME_BYTES_MAX, STEP_OPERATIONS_MAX, VALUE_BYTES_MAX } from './limits.ts';
import { sqliteLedger, type SqliteLedgerOptions } from './sqlite-ledger.ts';
import { WAITING_BYTES_MAX, WAITING_MAX } from './thread-ledger.ts';

const context = { name: 'test', clock: systemClock, random: seededRandom(1) };
let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tallystick-ledger-'));
  file = join(directory, 'ledger.db');
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true, force: true });
});

function open(options: Partial<SqliteLedgerOptions> = {}): Promise<Ledger> {
  return sqliteLedger({ file, ...options }).open(context);
}

/** Opens a ledger together with the thread it runs in. */
async function openWithThread(): Promise<{ ledger: Ledger; thread: Worker }> {
  const started = new Promise<Worker>((resolve) => process.once('worker', resolve));
  const ledger = await open();
  return { ledger, thread: await started };
}

/** Keeps other writers out of the file, as another process would, until the result is called. */
function lock(): () => void {
  const other = new DatabaseSync(file);
  other.exec('BEGIN IMMEDIATE');
  return () => {
    other.exec('ROLLBACK');
    other.close();
  };
}

function put(key: string, value = 'x'): LedgerOperation {
  return { kind: 'put', space: 's', key, value };
}

test.each([
  [{ file: '' }, 'CONFIG_INVALID'],
  [{ file: ':memory:' }, 'CONFIG_INVALID'],
  [{ file: 'x', busyTimeoutMs: -1 }, 'CONFIG_INVALID'],
  [{ file: 'x', fileBytesMax: 100 }, 'CONFIG_INVALID'],
  [{ file: 'x', busyTimeout: 1 }, 'CONFIG_UNKNOWN_OPTION'],
])('refuses the options %j', (options, code) => {
  expect(() => sqliteLedger(options)).toThrow(expect.objectContaining({ code }));
});

test('tells which file cannot be opened, and how to mend it', async () => {
  const opening = sqliteLedger({ file: join(directory, 'nowhere', 'l.db') }).open(context);
  await expect(opening).rejects.toMatchObject({
    code: 'STORE_UNREACHABLE',
    message: expect.stringMatching(/nowhere.*To mend it: .*[^.]\.$/) as string,
  });
});

test('opens no ledger whose thread dies at once', async () => {
  vi.stubEnv('TALLY_CRASH', 'no.such-point');
  await expect(open()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
});

test('blocks neither timers nor other work while the file is locked', async () => {
  await using ledger = await open();
  const unlock = lock();
  const waiting = ledger.commit([put('a')]);
  let ticks = 0;
  while (ticks < 20) {
    await systemClock.sleep(1);
    ticks += 1;
  }
  unlock();
  expect((await waiting).length).toBe(1);
});

test('fails with STORE_BUSY past the bound, and goes on afterwards', async () => {
  await using ledger = await open({ busyTimeoutMs: 10 });
  const unlock = lock();
  const outcomes = await Promise.allSettled([ledger.commit([put('a')]), ledger.commit([put('b')])]);
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'STORE_BUSY' } });
  expect(await ledger.list('s')).toEqual([]);
  unlock();
  await ledger.commit([put('a')]);
  expect(await ledger.list('s')).toHaveLength(1);
});

test('fails all steps of a flush with STORE_FULL when the file may not grow', async () => {
  await using ledger = await open({ fileBytesMax: 128 * 1024 });
  const large = 'x'.repeat(100_000);
  const outcomes = await Promise.allSettled([
    ledger.commit([put('small')]),
    ledger.commit([put('a', large)]),
    ledger.commit([put('b', large)]),
  ]);
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'STORE_FULL' } });
  await ledger.commit([put('small')]);
});

test('refuses what is over its limits before it waits with others', async () => {
  await using ledger = await open();
  const long = 'k'.repeat(NAME_BYTES_MAX + 1);
  const many = Array.from({ length: STEP_OPERATIONS_MAX + 1 }, () => put('a'));
  const wide = '€'.repeat(Math.ceil((VALUE_BYTES_MAX + 1) / 3));
  for (const step of [
    [put('a', 'x'.repeat(VALUE_BYTES_MAX + 1))],
    [put('a', wide)],
    [put(long)],
    many,
  ])
    await expect(ledger.commit(step)).rejects.toMatchObject({ code: 'ROW_TOO_LARGE' });
  await expect(ledger.get('s', long)).rejects.toMatchObject({ code: 'ROW_TOO_LARGE' });
  await ledger.commit([put('a', 'x'.repeat(VALUE_BYTES_MAX))]);
  expect((await ledger.get('s', 'a'))?.value).toHaveLength(VALUE_BYTES_MAX);
});

test.each<[string, unknown]>([
  ['a value that is no text', { kind: 'put', space: 's', key: 'a', value: 1 }],
  ['a version that is no whole number', { ...put('a'), ifVersion: 0.5 }],
  [
    'a time that is no number',
    { kind: 'acquire', lease: 'l', owner: 'o', ttlMs: 1, nowMs: Number.NaN },
  ],
  ['a negative term', { kind: 'renew', lease: 'l', epoch: 1, ttlMs: -1, nowMs: 0 }],
  ['an unknown kind', { kind: 'upsert', space: 's', key: 'a', value: 'x' }],
])('refuses %s', async (_name, operation) => {
  await using ledger = await open();
  const step = ledger.commit([operation as LedgerOperation]);
  await expect(step).rejects.toMatchObject({ code: 'VALUE_UNSUPPORTED' });
});

test('sends callers back when too many wait, and answers all it took', async () => {
  await using ledger = await open();
  const unlock = lock();
  const waiting = Array.from({ length: WAITING_MAX }, (_, index) =>
    ledger.commit([put(`${index % 100}`)]),
  );
  await expect(ledger.commit([put('one too many')])).rejects.toMatchObject({ code: 'STORE_BUSY' });
  await expect(ledger.get('s', 'a')).rejects.toMatchObject({ code: 'STORE_BUSY' });
  unlock();
  expect(await Promise.all(waiting)).toHaveLength(WAITING_MAX);
});

test('sends callers back when too many bytes wait', async () => {
  await using ledger = await open();
  const value = 'x'.repeat(VALUE_BYTES_MAX - 1_024);
  const fitting = Math.floor(WAITING_BYTES_MAX / VALUE_BYTES_MAX);
  const waiting = Array.from({ length: fitting }, () => ledger.commit([put('a', value)]));
  await expect(ledger.commit([put('b', value)])).rejects.toMatchObject({ code: 'STORE_BUSY' });
  await Promise.all(waiting);
});

test('tells what is unknown and what certainly did not happen when its thread dies', async () => {
  const { ledger, thread } = await openWithThread();
  const unlock = lock();
  const sent = ledger.commit([put('sent')]);
  await new Promise((resolve) => process.nextTick(resolve));
  const queued = ledger.commit([put('queued')]);
  const read = ledger.get('s', 'a');
  const outcomes = Promise.allSettled([sent, queued, read]);
  const ended = thread.terminate();
  unlock();
  await ended;
  expect(await outcomes).toMatchObject([
    { reason: { code: 'COMMIT_UNKNOWN' } },
    { reason: { code: 'STORE_UNREACHABLE' } },
    { reason: { code: 'STORE_UNREACHABLE' } },
  ]);
  await expect(ledger.commit([put('later')])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  await expect(ledger.list('s')).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  await ledger.close();
  await ledger.close();
  await using again = await open();
  expect((await again.list('s')).map((record) => record.key)).not.toContain('queued');
});

test('leaves the process free to end while nothing waits, and keeps it while something does', async () => {
  const program = `
    const { sqliteLedger } = await import(${JSON.stringify(new URL('./index.ts', import.meta.url).href)});
    const ledger = await sqliteLedger({ file: ${JSON.stringify(file)} }).open({ name: 'idle' });
    void ledger.commit([{ kind: 'put', space: 's', key: 'a', value: 'x' }]).then(() => console.log('committed'));
  `;
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 });
  expect({ stdout, stderr }).toEqual({ stdout: 'committed\n', stderr: '' });
});
