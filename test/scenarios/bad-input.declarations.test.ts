import { mkdir, writeFile, rm, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { flow, open, put, tally, type TallyApp } from 'tallystick';
import { duckdb } from 'tallystick/duckdb';
import { files, segmentLog } from 'tallystick/files';
import { memory } from 'tallystick/memory';
import { sqlite, sqliteLedger } from 'tallystick/sqlite';
import {
  copied,
  copyApp,
  inFolder,
  openCopy,
  owned,
  resnapshot,
  ask,
  stateOf,
  WITHIN,
  write,
} from '../support/copy-app.ts';

const project = () => put('t', ['k'], {});
const declaration = { from: 'orders', tables: ['products'], to: 'search', into: 't', project };

describe('an option whose name is not known is refused with the name that was meant', () => {
  test.each<[where: string, meant: string, declare: () => unknown]>([
    ['tally', 'stores', () => tally({ name: 'a', stors: {}, stores: {} } as never)],
    ['flow', 'batchRows', () => flow({ ...declaration, batchRow: 5 } as never)],
    ['flow', 'parkedMax', () => flow({ ...declaration, parkedmax: 5 } as never)],
    ['sqlite', 'busyTimeoutMs', () => sqlite({ file: 'a.db', busyTimeout: 5 } as never)],
    ['sqlite ledger', 'file', () => sqliteLedger({ flie: 'a.db' } as never)],
    ['duckdb', 'file', () => duckdb({ files: 'a.duckdb' } as never)],
    ['files', 'dir', () => files({ dirr: 'a' } as never)],
    ['segment log', 'bytesMax', () => segmentLog({ dir: 'a', byteMax: 5 } as never)],
    ['memory', 'tables', () => memory({ table: {} } as never)],
  ])('%s: %s', (_where, meant, declare) => {
    expect(declare).toThrow(
      expect.objectContaining({
        code: 'CONFIG_UNKNOWN_OPTION',
        message: expect.stringContaining(`did you mean ${meant}?`),
      }),
    );
  });

  test('a read, and a barrier', () =>
    inFolder(async (dir) => {
      await using app = await openCopy(dir, {}, { run: false });
      await expect(app.read('search', { withn: '1s' } as never, () => 1)).rejects.toMatchObject({
        code: 'CONFIG_UNKNOWN_OPTION',
        message: expect.stringContaining('did you mean within?'),
      });
      await expect(app.barrier('search', { afterr: new Map() } as never)).rejects.toMatchObject({
        code: 'CONFIG_UNKNOWN_OPTION',
        message: expect.stringContaining('did you mean after?'),
      });
      await expect(app.read('serch' as never, {}, () => 1)).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('search'),
      });
      await expect(app.read('search', { within: 'soon' }, () => 1)).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('read.within'),
      });
    }));
});

test('a misspelt store in a flow, and a misspelt table in a store, are refused with the nearest name', () =>
  inFolder(async (dir) => {
    expect(() => copyApp(dir, { flow: { to: 'serch' } })).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(/tally\.flows\.copy\.to.*did you mean search\?/s),
      }),
    );
    await expect(openCopy(dir, { flow: { tables: ['product'] } })).rejects.toMatchObject({
      code: 'TABLE_UNKNOWN',
      message: expect.stringContaining('products'),
    });
    // Nothing was kept open or half made: the right declaration works at once.
    await using app = await openCopy(dir);
    const after = await write(app, { a: '1' });
    expect((await app.barrier('search', { after, within: WITHIN })).kind).toBe('fresh');
  }));

describe('what cannot be opened is refused with the path, and nothing is written over', () => {
  const garbage = 'this is a shopping list and not a database\n'.repeat(200);

  test.each(['orders', 'search'] as const)('%s is a file of another kind', (store) =>
    inFolder(async (dir) => {
      const file = join(dir, 'list.txt');
      await writeFile(file, garbage);
      const options = store === 'orders' ? { source: { file } } : { target: { file } };
      await expect(openCopy(dir, options)).rejects.toMatchObject({
        code: 'STORE_CORRUPT',
        message: expect.stringContaining('list.txt'),
      });
      expect(await readFile(file, 'utf8')).toBe(garbage);
    }),
  );

  test('a store is a directory', () =>
    inFolder(async (dir) => {
      await mkdir(join(dir, 'folder'));
      await expect(openCopy(dir, { source: { file: join(dir, 'folder') } })).rejects.toMatchObject({
        code: 'STORE_UNREACHABLE',
        message: expect.stringContaining('folder'),
      });
    }));

  test('the folder of a store is not there', () =>
    inFolder(async (dir) => {
      const file = join(dir, 'missing', 'search.db');
      await expect(openCopy(dir, { target: { file } })).rejects.toMatchObject({
        code: 'STORE_UNREACHABLE',
        message: expect.stringContaining('missing'),
      });
    }));

  test('the folder of files, of the application or of the log is a file', () =>
    inFolder(async (dir) => {
      const path = join(dir, 'file');
      await writeFile(path, garbage);
      const name = 'a';
      const images = files({ dir: path });
      const declarations: readonly TallyApp[] = [
        tally({ name, dir: join(dir, 'coordinator'), stores: { images } }),
        copyApp(dir, { app: { dir: path } }),
        copyApp(dir, { app: { log: () => segmentLog({ dir: path }) } }),
      ];
      for (const declared of declarations)
        await expect(open(declared)).rejects.toMatchObject({
          code: 'STORE_UNREACHABLE',
          message: expect.stringContaining(path),
        });
      expect(await readFile(path, 'utf8')).toBe(garbage);
    }));

  test('the ledger is a file of another kind, or damaged', () =>
    inFolder(async (dir) => {
      const file = join(dir, 'ledger.db');
      await writeFile(file, garbage);
      const ledger = sqliteLedger({ file });
      await expect(openCopy(dir, { app: { ledger } })).rejects.toMatchObject({
        code: 'STORE_CORRUPT',
        message: expect.stringContaining('ledger.db'),
      });
      expect(await readFile(file, 'utf8')).toBe(garbage);
    }));
});

test('a damaged log stops the lane with STORE_CORRUPT and its place; a new log and a resnapshot mend it', () =>
  inFolder(async (dir) => {
    {
      await using app = await openCopy(dir);
      for (let round = 0; round < 5; round += 1)
        await write(app, { [`k${round}`]: 'x'.repeat(500) });
      const after = await write(app, { last: '1' });
      await app.barrier('search', { after, within: WITHIN });
    }
    const folder = join(dir, 'coordinator', 'log', 'orders');
    const segment = (await readdir(folder)).find((name) => name.includes('seg') || /\d/.test(name));
    const path = join(folder, segment ?? '');
    const bytes = await readFile(path);
    // In the middle: a torn tail is repaired, this is not one.
    bytes.fill(0xaa, Math.floor(bytes.length / 3), Math.floor(bytes.length / 3) + 64);
    await writeFile(path, bytes);
    {
      await using app = await openCopy(dir);
      const { worker } = await stateOf(app, 'lane', 'failed', 'STORE_CORRUPT');
      expect(worker.kind === 'failed' && worker.message).toContain(path);
      await write(app, { meanwhile: '1' });
    }
    await rm(folder, { recursive: true });
    await using app = await openCopy(dir);
    await stateOf(app, 'lane', 'failed', 'HISTORY_LOST');
    expect(await ask(app, resnapshot)).toBe(2);
    const after = await write(app, { mended: '1' });
    expect((await app.barrier('search', { after, within: WITHIN })).kind).toBe('fresh');
    expect(copied(dir)).toEqual(owned(dir));
  }));
