import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { flow, open, put, tally, type FlowStatus, type LaneStatus } from 'tallystick';
import { files, segmentLog } from 'tallystick/files';
import { sqlite, sqliteLedger } from 'tallystick/sqlite';
import {
  copied,
  inFolder,
  makeSource,
  openCopy,
  owned,
  stateOf,
  until,
  WITHIN,
  write,
  type OpenCopy,
} from '../support/copy-app.ts';
import { hasSmallDisks, smallDisk, type SmallDisk } from '../support/small-disk.ts';

/** Rows that need more room than a file has left over. */
const large = (prefix: string): Record<string, string> =>
  Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`${prefix}${at}`, 'x'.repeat(8_192)]));

async function arrives(app: OpenCopy, dir: string): Promise<void> {
  const after = await write(app, { last: 'written when there was room' });
  expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
  expect(copied(dir)).toEqual(owned(dir));
}

function message({ worker }: FlowStatus | LaneStatus): string {
  return worker.kind === 'retrying' ? worker.message : worker.kind;
}

function inFolderWithDisk(work: (dir: string, disk: SmallDisk) => Promise<void>): Promise<void> {
  return inFolder(async (dir) => {
    using disk = smallDisk(8);
    await work(dir, disk);
  });
}

describe.runIf(hasSmallDisks)(
  'a full disk is a state with a name, and ends when there is room',
  () => {
    test('under the log: the lane retries with STORE_FULL, the changes wait at the source', () =>
      inFolderWithDisk(async (dir, disk) => {
        const log = () => segmentLog({ dir: join(disk.dir, 'log'), segmentBytes: 65_536 });
        await using app = await openCopy(dir, { app: { log } });
        await arrives(app, dir);
        disk.fill();
        await write(app, large('log'));
        expect(message(await stateOf(app, 'lane', 'retrying', 'STORE_FULL'))).toContain(
          'free space on that disk',
        );
        await write(app, { log0: 'again' });
        disk.makeRoom();
        await arrives(app, dir);
        await stateOf(app, 'lane', 'running');
      }));

    test('under the target: the flow retries with STORE_FULL, and nothing is parked', () =>
      inFolderWithDisk(async (dir, disk) => {
        const target = { file: join(disk.dir, 'search.db') };
        await using app = await openCopy(dir, { target });
        await write(app, { first: '1' });
        disk.fill();
        await write(app, large('target'));
        const stuck = await stateOf(app, 'flow', 'retrying', 'STORE_FULL');
        expect(message(stuck)).toContain('free space');
        expect(stuck).toMatchObject({ parked: 0 });
        disk.makeRoom();
        const after = await write(app, { last: '1' });
        expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
        expect(copied(disk.dir)).toEqual(owned(dir));
      }));

    test('under a target of files: the same', () =>
      inFolderWithDisk(async (dir, disk) => {
        const definition = tally({
          name: 'copy',
          dir: join(dir, 'coordinator'),
          stores: {
            orders: sqlite({ file: join(dir, 'orders.db') }),
            images: files({ dir: join(disk.dir, 'images') }),
          },
          flows: {
            copy: flow({
              from: 'orders',
              tables: ['products'],
              to: 'images',
              into: 'documents',
              project: ({ sku, title = null }) => put('documents', [sku as string], { title }),
            }),
          },
        });
        await using app = await open(definition);
        const insert = (rows: Record<string, string>) =>
          app.write('orders', (db) => {
            const statement = db.prepare('INSERT INTO products (sku, title) VALUES (?, ?)');
            for (const [sku, title] of Object.entries(rows)) statement.run(sku, title);
          });
        await insert({ first: '1' });
        disk.fill();
        await insert(large('file'));
        expect(await stateOf(app, 'flow', 'retrying', 'STORE_FULL')).toMatchObject({ parked: 0 });
        disk.makeRoom();
        const { evidence: after } = await insert({ last: '1' });
        expect(await app.barrier('images', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
        let objects = 0;
        for await (const { key } of app.stores.images.objects.list(''))
          if (key !== '') objects += 1;
        expect(objects).toBe(66);
      }));

    test('under the ledger: what needs it waits, and goes on when there is room', () =>
      inFolderWithDisk(async (dir, disk) => {
        const ledger = sqliteLedger({ file: join(disk.dir, 'ledger.db') });
        await using app = await openCopy(dir, { app: { ledger } });
        await arrives(app, dir);
        disk.fill();
        await expect(
          app.ledger.commit([{ kind: 'put', space: 'test', key: 'k', value: 'x'.repeat(500_000) }]),
        ).rejects.toMatchObject({ code: 'STORE_FULL' });
        await write(app, large('ledger'));
        disk.makeRoom();
        await arrives(app, dir);
      }));

    test('under the source: the application is told, nothing of its transaction is kept, the flow goes on', () =>
      inFolderWithDisk(async (dir, disk) => {
        makeSource(join(disk.dir, 'orders.db'));
        await using app = await openCopy(dir, { source: { file: join(disk.dir, 'orders.db') } });
        await write(app, { first: '1' });
        disk.fill();
        await expect(write(app, large('source'))).rejects.toMatchObject({ code: 'STORE_FULL' });
        disk.makeRoom();
        const after = await write(app, { last: '1' });
        expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
        expect(copied(dir)).toEqual({ first: '1', last: '1' });
      }));
  },
);

test('a log at its own bound holds the capture back, drops nothing, and says so', () =>
  inFolder(async (dir) => {
    const log = () =>
      segmentLog({ dir: join(dir, 'log'), segmentBytes: 65_536, bytesMax: 131_072 });
    const gate = { open: false };
    const project = (row: Readonly<Record<string, unknown>>) => {
      if (!gate.open) throw new Error('not yet');
      return put('documents', [row['sku'] as string], row as never);
    };
    await using app = await openCopy(dir, { app: { log }, flow: { project, parkedMax: 1 } });
    for (let round = 0; round < 4; round += 1) await write(app, large(`bound${round}-`));
    await until(
      async () =>
        (await app.status()).lanes.find(({ state }) => state === 'log-full') ? true : undefined,
      () => app.status(),
    );
    await stateOf(app, 'flow', 'failed', 'PARKED_FULL');
    gate.open = true;
    await app.close();
    await using again = await openCopy(dir, { app: { log }, flow: { project, parkedMax: 1_000 } });
    await arrives(again, dir);
  }));

test('a page limit of the source is STORE_FULL to the writer alone', () =>
  inFolder(async (dir) => {
    await using app = await openCopy(dir);
    const { client } = app.stores.orders;
    const pages = Number(client.prepare('PRAGMA page_count').get()?.['page_count']);
    client.exec(`PRAGMA max_page_count = ${pages + 1}`);
    await expect(write(app, large('page'))).rejects.toMatchObject({ code: 'STORE_FULL' });
    client.exec('PRAGMA max_page_count = 1000000');
    await arrives(app, dir);
  }));

test('a target that somebody keeps locked is STORE_BUSY, and the flow goes on when it is let go', () =>
  inFolder(async (dir) => {
    await using app = await openCopy(dir, { target: { busyTimeoutMs: 20 } });
    await arrives(app, dir);
    using other = new DatabaseSync(join(dir, 'search.db'));
    other.exec('BEGIN IMMEDIATE');
    await write(app, { locked: '1' });
    const stuck = await stateOf(app, 'flow', 'retrying', 'STORE_BUSY');
    expect(message(stuck)).toContain('locked');
    expect(stuck).toMatchObject({ parked: 0 });
    other.exec('ROLLBACK');
    await arrives(app, dir);
  }));

test('a source that somebody keeps locked delays its flows and loses nothing; status goes on', () =>
  inFolder(async (dir) => {
    await using app = await openCopy(dir, { source: { busyTimeoutMs: 20 } });
    await arrives(app, dir);
    using other = new DatabaseSync(join(dir, 'orders.db'));
    other.exec('BEGIN IMMEDIATE');
    other.exec("INSERT INTO products (sku, title) VALUES ('other', '1')");
    await expect(write(app, { mine: '1' })).rejects.toMatchObject({ code: 'STORE_BUSY' });
    const before = (await app.ledger.list('status'))[0]?.version ?? 0;
    await until(async () =>
      ((await app.ledger.list('status'))[0]?.version ?? 0) > before + 1 ? true : undefined,
    );
    other.exec('COMMIT');
    await arrives(app, dir);
    expect(copied(dir)).toHaveProperty('other', '1');
  }));
