import { copyFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { isTallyError } from '../../../core/errors.ts';
import type { SourceEntry } from '../../../ports/source.ts';
import { systemClock } from '../../../runtime/clock.ts';
import {
  brief,
  changesOf,
  commitsOf,
  cursorOf,
  drain,
  fold,
  openStore,
  withStore,
  type Bench,
} from '../../../../test/support/sqlite-source.ts';
import { commitError } from './write.ts';

const ITEMS = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)';

async function prepared(bench: Bench): Promise<void> {
  bench.store.client.exec(ITEMS);
  await bench.store.source.prepare(['items']);
}

/** Writes rows with these keys, a transaction each. */
async function put({ store }: Bench, ...ids: readonly number[]): Promise<void> {
  for (const id of ids) {
    await store.source.write((tx) =>
      tx.prepare('INSERT OR REPLACE INTO items (id, name) VALUES (?, ?)').run(id, `n${id}`),
    );
  }
}

describe('histories', () => {
  test('a file that was put back to an older state is HISTORY_LOST for a later cursor', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1);
      const older = cursorOf(await drain(bench.store));
      bench.store.client.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      const backup = `${bench.file}.backup`;
      copyFileSync(bench.file, backup);
      await put(bench, 2, 3);
      const newer = cursorOf(await drain(bench.store));
      await using restored = await openStore(backup);
      expect(await restored.source.history()).toBe(await bench.store.source.history());
      await expect(drain2(restored, newer)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
      // The very state of the cursor is the same history, and goes on.
      await restored.source.write((tx) => tx.exec("INSERT INTO items VALUES (7, 'n')"));
      expect(changesOf(await drain(restored, older)).map(({ key }) => key)).toEqual(['[7]']);
    }));

  test('a file that was put back and written since is HISTORY_LOST, though it has the offset', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1);
      bench.store.client.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      const backup = `${bench.file}.backup`;
      copyFileSync(bench.file, backup);
      await put(bench, 2);
      const cursor = cursorOf(await drain(bench.store));
      await using forked = await openStore(backup);
      for (const id of [2, 3, 4]) {
        await forked.source.write((tx) => tx.exec(`INSERT INTO items VALUES (${id}, 'n${id}')`));
      }
      expect(await forked.source.head()).toBeGreaterThan(cursor.offset);
      await expect(drain2(forked, cursor)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
      await expect(forked.source.acknowledge(cursor, 0)).rejects.toMatchObject({
        code: 'HISTORY_LOST',
      });
    }));

  test('keeps counting after everything was acknowledged, and across reopening', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1, 2, 3);
      const cursor = cursorOf(await drain(bench.store));
      await bench.store.source.acknowledge(cursor, 0);
      expect(await bench.store.source.retained()).toEqual({ rows: 0, bytes: 0 });
      await bench.reopen();
      await put(bench, 4);
      expect(await bench.store.source.head()).toBe(cursor.offset + 2);
      expect(brief(await drain(bench.store, cursor))).toEqual([
        'create [4] - {"id":4,"name":"n4"}',
      ]);
      // Without a cursor it starts after what was let go, not in the middle of it.
      expect(changesOf(await drain(bench.store)).map(({ key }) => key)).toEqual(['[4]']);
    }));

  test('rows of the history that somebody deleted are HISTORY_LOST, not skipped', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1, 2, 3);
      bench.foreign().exec('DELETE FROM _tally_changes WHERE seq = 2');
      await expect(drain(bench.store)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    }));

  test('prunes in chunks and keeps the newest acknowledged change', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await bench.store.source.write((tx) =>
        tx.exec(
          `WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 12000) INSERT INTO items SELECT i, 'n' FROM n`,
        ),
      );
      await bench.store.source.acknowledge(cursorOf(await drain(bench.store)), 0);
      const kept = bench.store.client
        .prepare('SELECT count(*) AS n, max(seq) AS seq FROM _tally_changes')
        .get();
      expect(kept).toMatchObject({ n: 1, seq: 12_001 });
    }));
});

describe('transactions', () => {
  test('ends each write() with its own commit, at the offset that it returned', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const { store } = bench;
      const offsets: number[] = [];
      for (const count of [1, 3, 2]) {
        const { offset } = await store.source.write((tx) => {
          for (let row = 0; row < count; row++) tx.exec("INSERT INTO items (name) VALUES ('n')");
        });
        offsets.push(offset);
      }
      const commits = commitsOf(await drain(store, undefined, { rowsMax: 2 }));
      expect(commits.map(({ offset }) => offset)).toEqual(offsets);
      expect(commits.map(({ changes }) => changes)).toEqual([1, 3, 2]);
    }));

  test('yields transactions of other programs whole, and cuts them the same way ever after', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const other = bench.foreign();
      other.exec(
        "BEGIN; INSERT INTO items VALUES (1, 'a'); INSERT INTO items VALUES (2, 'a'); COMMIT",
      );
      const first = await firstBatch(bench, 1);
      other.exec("INSERT INTO items VALUES (3, 'a')");
      await bench.reopen();
      const again = await drain(bench.store);
      expect(again[0]).toEqual(first[0]);
      expect(commitsOf(again).map(({ changes }) => changes)).toEqual([2, 1]);
    }));

  test('never yields a part of a transaction that is still open', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1);
      const other = bench.foreign();
      other.exec("BEGIN IMMEDIATE; INSERT INTO items VALUES (2, 'a')");
      expect(changesOf(await drain(bench.store))).toHaveLength(1);
      other.exec("INSERT INTO items VALUES (3, 'a'); COMMIT");
      const entries = await drain(bench.store);
      expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([1, 2]);
    }));

  test('a waiting stream sees a write of another program within the poll interval', () =>
    withStore(
      async (bench) => {
        await prepared(bench);
        const stop = new AbortController();
        const stream = bench.store.source.stream({
          after: undefined,
          rowsMax: 10,
          bytesMax: 1e6,
          signal: stop.signal,
        });
        const next = stream[Symbol.asyncIterator]().next();
        await systemClock.sleep(20);
        const startMs = systemClock.monotonicMs();
        bench.foreign().exec("INSERT INTO items VALUES (1, 'a')");
        const batch: readonly SourceEntry[] = (await next).value ?? [];
        expect(batch.map(({ kind }) => kind)).toEqual(['change', 'commit']);
        expect(systemClock.monotonicMs() - startMs).toBeLessThan(1_000);
        stop.abort();
      },
      { pollMs: 20 },
    ));

  test('a waiting stream is woken by write() at once, not by the poll', () =>
    withStore(
      async (bench) => {
        await prepared(bench);
        await put(bench, 1);
        const after = cursorOf(await drain(bench.store));
        const stop = new AbortController();
        const stream = bench.store.source.stream({
          after,
          rowsMax: 10,
          bytesMax: 1e6,
          signal: stop.signal,
        });
        const next = stream[Symbol.asyncIterator]().next();
        await bench.store.source.head();
        await systemClock.sleep(10);
        const startMs = systemClock.monotonicMs();
        await put(bench, 2);
        expect((await next).value).toHaveLength(2);
        expect(systemClock.monotonicMs() - startMs).toBeLessThan(5_000);
        stop.abort();
      },
      { pollMs: 60_000 },
    ));

  test('streams a transaction of 100 000 rows in batches that keep both bounds', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await bench.store.source.write((tx) =>
        tx.exec(
          `WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000) INSERT INTO items SELECT i, 'name ' || i FROM n`,
        ),
      );
      const stop = new AbortController();
      const stream = bench.store.source.stream({
        after: undefined,
        rowsMax: 1_000,
        bytesMax: 20_000,
        signal: stop.signal,
      });
      let changes = 0;
      for await (const batch of stream) {
        expect(batch.length).toBeLessThanOrEqual(1_000);
        const own = changesOf(batch);
        expect(
          own.reduce((sum, change) => sum + (change.after?.length ?? 0), 0),
        ).toBeLessThanOrEqual(20_000);
        changes += own.length;
        if (commitsOf(batch).length > 0) break;
      }
      stop.abort();
      expect(changes).toBe(100_000);
    }));
});

describe('long transactions', () => {
  // Marks behind more than a thousand rows are listed, those behind fewer are looked for.
  test.each([1, 7, 999, 1_000, 1_001, 2_500])(
    'have one offset, whatever the batch, with %i rows each',
    (count) =>
      withStore(async (bench) => {
        await prepared(bench);
        const other = bench.foreign();
        const rows = `WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) INSERT INTO items (name) SELECT 'n' FROM n`;
        const offsets: number[] = [];
        for (const writer of ['own', 'own', 'foreign', 'own', 'own']) {
          if (writer === 'foreign') other.exec(rows);
          else offsets.push((await bench.store.source.write((tx) => tx.exec(rows))).offset);
        }
        for (const rowsMax of [3, 400, 5_000]) {
          const entries = await drain(bench.store, undefined, { rowsMax });
          expect(commitsOf(entries).map(({ offset }) => offset)).toEqual(offsets);
          expect(commitsOf(entries).map(({ changes }) => changes)).toEqual([
            count,
            count,
            2 * count,
            count,
          ]);
          const wrong = changesOf(entries).filter(({ offset }) => !offsets.includes(offset));
          expect(wrong).toEqual([]);
          const ordinals = new Set(
            changesOf(entries).map(({ offset, ordinal }) => `${offset}/${ordinal}`),
          );
          expect(ordinals.size).toBe(5 * count);
        }
      }),
  );
});

describe('write()', () => {
  test('never interleaves two transactions, though their work awaits', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const { store } = bench;
      const results = await Promise.all(
        [1, 2, 3].map((id) =>
          store.source.write(async (tx) => {
            tx.prepare('INSERT INTO items VALUES (?, ?)').run(id * 10, 'first');
            await systemClock.sleep(1);
            tx.prepare('INSERT INTO items VALUES (?, ?)').run(id * 10 + 1, 'second');
            return id;
          }),
        ),
      );
      expect(results.map(({ value }) => value)).toEqual([1, 2, 3]);
      expect(results.map(({ offset }) => offset)).toEqual([3, 6, 9]);
      expect(changesOf(await drain(store)).map(({ key }) => key)).toEqual([
        '[10]',
        '[11]',
        '[20]',
        '[21]',
        '[30]',
        '[31]',
      ]);
    }));

  test('rolls back and rethrows what the work threw, and goes on', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const { source } = bench.store;
      const mistake = new Error('mine');
      await expect(
        source.write((tx) => {
          tx.exec("INSERT INTO items VALUES (1, 'a')");
          throw mistake;
        }),
      ).rejects.toBe(mistake);
      await expect(
        source.write((tx) => tx.exec('INSERT INTO items VALUES (NULL)')),
      ).rejects.toThrow(/2 columns/);
      expect(await source.write(() => 'nothing')).toEqual({ value: 'nothing', offset: 0 });
      await put(bench, 2);
      expect(changesOf(await drain(bench.store)).map(({ key }) => key)).toEqual(['[2]']);
    }));

  test('without changes returns the head', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1, 2);
      const { source } = bench.store;
      expect((await source.write(() => 0)).offset).toBe(await source.head());
    }));

  test('a full database is STORE_FULL, keeps nothing, and recovers', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1);
      const { client, source } = bench.store;
      const pages = Number(client.prepare('PRAGMA page_count').get()?.['page_count']);
      client.exec(`PRAGMA max_page_count = ${pages + 1}`);
      await expect(
        source.write((tx) =>
          tx.prepare('INSERT INTO items VALUES (2, ?)').run('x'.repeat(100_000)),
        ),
      ).rejects.toMatchObject({ code: 'STORE_FULL' });
      client.exec('PRAGMA max_page_count = 1000000');
      await put(bench, 3);
      expect(changesOf(await drain(bench.store)).map(({ key }) => key)).toEqual(['[1]', '[3]']);
    }));

  test('work that ends the transaction itself is refused', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await expect(bench.store.source.write((tx) => tx.exec('COMMIT'))).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
      });
      bench.store.client.exec('BEGIN');
      await expect(bench.store.source.write(() => 0)).rejects.toMatchObject({ code: 'STORE_BUSY' });
      bench.store.client.exec('ROLLBACK');
      await put(bench, 1);
    }));

  test('a lock held by another program is STORE_BUSY', () =>
    withStore(
      async (bench) => {
        await prepared(bench);
        const other = bench.foreign();
        other.exec('BEGIN IMMEDIATE');
        await expect(bench.store.source.write(() => 0)).rejects.toMatchObject({
          code: 'STORE_BUSY',
          retryable: true,
        });
        other.exec('ROLLBACK');
        await put(bench, 1);
      },
      { busyTimeoutMs: 10 },
    ));

  test('capture waits for a write() of this process instead of blocking its thread', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const { source } = bench.store;
      bench.foreign().exec("INSERT INTO items VALUES (1, 'unmarked')");
      const gate = Promise.withResolvers<void>();
      const writing = source.write(async (tx) => {
        tx.exec("INSERT INTO items VALUES (2, 'late')");
        await gate.promise;
      });
      const draining = drain(bench.store);
      const claiming = source.claim(3);
      await systemClock.sleep(20);
      gate.resolve();
      await Promise.all([writing, claiming]);
      expect(changesOf(await draining).map(({ key }) => key)).toContain('[1]');
    }));

  test('a disk that fails during COMMIT is COMMIT_UNKNOWN', () => {
    const failed = Object.assign(new Error('disk I/O error'), { errcode: 10 | (4 << 8) });
    expect(commitError(failed, 'f')).toMatchObject({ code: 'COMMIT_UNKNOWN', retryable: false });
    const full = Object.assign(new Error('full'), { errcode: 13 });
    expect(isTallyError(commitError(full, 'f'), 'STORE_FULL')).toBe(true);
  });
});

describe('tables that change', () => {
  test('images are complete again after ADD COLUMN, for rows written before anybody noticed', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1, 2, 3);
      await bench.store.source.acknowledge(cursorOf(await drain(bench.store)), 0);
      const other = bench.foreign();
      other.exec(
        "ALTER TABLE items ADD COLUMN extra TEXT; UPDATE items SET extra = 'e' WHERE id = 2; DELETE FROM items WHERE id = 3",
      );
      await bench.reopen();
      const last = new Map(
        changesOf(await drain(bench.store)).map((change) => [change.key, change.after]),
      );
      expect(last.get('[2]')).toBe('{"id":2,"name":"n2","extra":"e"}');
      expect(last.get('[3]')).toBeNull();
      expect(last.has('[1]')).toBe(false);
      await put(bench, 4);
      expect(brief(await drain(bench.store)).at(-1)).toBe(
        'create [4] - {"id":4,"name":"n4","extra":null}',
      );
    }));

  test('a running stream notices RENAME COLUMN and a new unique index', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const stop = new AbortController();
      const seen: SourceEntry[] = [];
      const reading = (async () => {
        for await (const batch of bench.store.source.stream({
          after: undefined,
          rowsMax: 100,
          bytesMax: 1e6,
          signal: stop.signal,
        })) {
          seen.push(...batch);
          if (changesOf(batch).some(({ key }) => key === '[9]')) return;
        }
      })();
      await put(bench, 1);
      const other = bench.foreign();
      other.exec(
        'ALTER TABLE items RENAME COLUMN name TO title; CREATE UNIQUE INDEX by_title ON items (title)',
      );
      await bench.store.source.prepare(['items']);
      other.exec("REPLACE INTO items VALUES (9, 'n1')");
      await reading;
      stop.abort();
      const last = new Map(changesOf(seen).map((change) => [change.key, change.after]));
      expect(last.get('[1]')).toBeNull();
      expect(last.get('[9]')).toBe('{"id":9,"title":"n1"}');
    }));

  test('DROP COLUMN is refused by SQLite, and done by alter()', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1);
      const { client, source } = bench.store;
      expect(() => client.exec('ALTER TABLE items DROP COLUMN name')).toThrow(/error in trigger/);
      await source.alter(['items'], (database) => {
        database.exec('ALTER TABLE items DROP COLUMN name; ALTER TABLE items ADD COLUMN n INTEGER');
      });
      await source.write((tx) => tx.exec('INSERT INTO items VALUES (2, 7)'));
      const changes = changesOf(await drain(bench.store));
      expect(new Map(changes.map((change) => [change.key, change.after]))).toEqual(
        new Map([
          ['[1]', '{"id":1,"n":null}'],
          ['[2]', '{"id":2,"n":7}'],
        ]),
      );
      await expect(source.alter(['other'], () => undefined)).rejects.toMatchObject({
        code: 'TABLE_UNKNOWN',
      });
    }));

  test.each([
    ['is dropped', 'DROP TABLE items'],
    ['loses its triggers', 'DROP TRIGGER _tally_1_ai'],
    ['is renamed', 'ALTER TABLE items RENAME TO things'],
    [
      'is copied and replaced',
      `${ITEMS.replace('items', 'copy')}; INSERT INTO copy SELECT * FROM items; DROP TABLE items; ALTER TABLE copy RENAME TO items`,
    ],
  ])('a captured table that %s ends the history', (_what, sql) =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1);
      const before = await bench.store.source.history();
      const cursor = cursorOf(await drain(bench.store));
      bench.foreign().exec(sql);
      await expect(drain2(bench.store, cursor)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
      expect(await bench.store.source.history()).not.toBe(before);
      await expect(drain2(bench.store, cursor)).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    }),
  );

  test('tables that cannot be captured are refused with the remedy', () =>
    withStore(async ({ store }) => {
      store.client
        .exec(`${ITEMS}; CREATE TABLE keyless (a); CREATE VIEW seen AS SELECT * FROM items;
        CREATE TABLE lowered (id INTEGER PRIMARY KEY, a TEXT); CREATE UNIQUE INDEX low ON lowered (lower(a));
        CREATE TABLE nulls (id TEXT PRIMARY KEY); INSERT INTO nulls VALUES (NULL);
        CREATE VIRTUAL TABLE words USING fts5(body)`);
      for (const table of ['keyless', 'seen', 'lowered', 'nulls', 'words']) {
        await expect(store.source.prepare([table])).rejects.toMatchObject({
          code: 'TABLE_UNSUPPORTED',
        });
      }
      await expect(store.source.prepare(['Items'])).rejects.toMatchObject({
        code: 'TABLE_UNKNOWN',
        details: { nearest: 'items' },
      });
      await expect(store.source.prepare(['_tally_changes'])).rejects.toMatchObject({
        code: 'TABLE_UNKNOWN',
      });
    }));

  test('a row with NULL in its primary key is refused when it is written', () =>
    withStore(async ({ store }) => {
      store.client.exec('CREATE TABLE names (id TEXT PRIMARY KEY)');
      await store.source.prepare(['names']);
      await expect(
        store.source.write((tx) => tx.exec('INSERT INTO names VALUES (NULL)')),
      ).rejects.toThrow(/no identity/);
      expect(await store.source.head()).toBe(0);
    }));

  test('prepare leaves nothing behind if one of its tables cannot be captured', () =>
    withStore(async ({ store }) => {
      store.client.exec(`${ITEMS}; CREATE TABLE keyless (a)`);
      await expect(store.source.prepare(['items', 'keyless'])).rejects.toMatchObject({
        code: 'TABLE_UNSUPPORTED',
      });
      store.client.exec("INSERT INTO items VALUES (1, 'a')");
      expect(await store.source.head()).toBe(0);
    }));
});

describe('snapshots', () => {
  test('resume after a key of any type, composite and without rowid', () =>
    withStore(async ({ store }) => {
      store.client.exec(`CREATE TABLE pairs (a, b, c, PRIMARY KEY (a, b)) WITHOUT ROWID`);
      await store.source.prepare(['pairs']);
      const insert = store.client.prepare('INSERT INTO pairs VALUES (?, ?, 0)');
      const parts = [1, 2n ** 60n, 1.5, 'text', new Uint8Array([1, 2])];
      for (const a of parts) for (const b of parts) insert.run(a, b);
      const { signal } = new AbortController();
      const options = { tables: ['pairs'], bytesMax: 1e6, signal };
      const keys = [];
      for await (const chunk of store.source.snapshot({ ...options, rowsMax: 3 })) {
        keys.push(...chunk.rows.map(({ key }) => key));
      }
      expect(keys).toHaveLength(25);
      for (const [index, key] of keys.entries()) {
        const rest = [];
        for await (const chunk of store.source.snapshot({
          ...options,
          rowsMax: 100,
          resume: { pairs: key },
        })) {
          rest.push(...chunk.rows.map((row) => row.key));
        }
        expect(rest).toEqual(keys.slice(index + 1));
      }
      const { rows } = await store.source.lookup('pairs', keys);
      expect(rows.every((row) => row !== null)).toBe(true);
      await expect(store.source.lookup('pairs', [[1]])).rejects.toMatchObject({
        code: 'INPUT_INVALID',
      });
    }));

  test('a chunk keeps its bounds and the stream folds from its position to the present', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1, 2, 3, 4, 5);
      const { signal } = new AbortController();
      const sizes: number[] = [];
      for await (const chunk of bench.store.source.snapshot({
        tables: ['items'],
        rowsMax: 100,
        bytesMax: 21,
        signal,
      })) {
        sizes.push(chunk.rows.length);
        expect(chunk.at).toBe(10);
        await put(bench, 6);
      }
      expect(sizes).toEqual([2, 2, 1]);
      expect(fold(await drain(bench.store), 'items').size).toBe(6);
    }));
});

describe('positions of reads', () => {
  test('are ends of transactions for ever, though other programs write without marks', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const other = bench.foreign();
      other.exec("INSERT INTO items VALUES (1, 'a'), (2, 'a')");
      const { at, rows } = await bench.store.source.lookup('items', [[1], [3]]);
      expect(rows).toEqual([{ id: 1, name: 'a' }, null]);
      other.exec("INSERT INTO items VALUES (3, 'b')");
      const { signal } = new AbortController();
      let snapshotAt = 0;
      for await (const chunk of bench.store.source.snapshot({
        tables: ['items'],
        rowsMax: 9,
        bytesMax: 1e6,
        signal,
      })) {
        snapshotAt = chunk.at;
      }
      other.exec("INSERT INTO items VALUES (4, 'c')");
      const after = (offset: number, entries: readonly SourceEntry[]): string[] =>
        changesOf(entries)
          .filter((change) => change.offset > offset)
          .map(({ key }) => key);
      const entries = await drain(bench.store);
      expect(after(at, entries)).toEqual(['[3]', '[4]']);
      expect(after(snapshotAt, entries)).toEqual(['[4]']);
    }));
});

describe('the store', () => {
  test('refuses options that it does not know, and files that are none', async () => {
    await expect(openStore(':memory:')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(openStore('/nowhere/at/all.db')).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    });
    await expect(openStore('x.db', { pollMS: 5 } as object)).rejects.toMatchObject({
      code: 'CONFIG_UNKNOWN_OPTION',
    });
  });

  test('says STORE_CORRUPT of a file of another kind and leaves it alone', () =>
    withStore(async ({ directory }) => {
      const file = `${directory}/notes.txt`;
      copyFileSync(import.meta.filename, file);
      await expect(openStore(file)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    }));

  test('shows the native measurements', () =>
    withStore(async (bench) => {
      await prepared(bench);
      await put(bench, 1, 2);
      const { system, measures } = await bench.store.vitals();
      expect(system).toBe('sqlite');
      const named = new Map(measures.map(({ name, value }) => [name, value]));
      expect(named.get('page_count')).toBeGreaterThan(1);
      expect(named.get('wal_bytes')).toBeGreaterThan(0);
      expect(named.get('captured_seq')).toBe(4);
    }));

  test('ends its streams when it is closed', () =>
    withStore(async (bench) => {
      await prepared(bench);
      const { signal } = new AbortController();
      const stream = bench.store.source.stream({
        after: undefined,
        rowsMax: 1,
        bytesMax: 1,
        signal,
      });
      const next = stream[Symbol.asyncIterator]().next();
      await systemClock.sleep(10);
      await bench.store.close();
      expect(await next).toMatchObject({ done: true });
      await expect(bench.store.source.head()).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    }));
});

/** {@link drain}, but it asks even if the cursor is beyond the head. */
async function drain2(
  store: Bench['store'],
  after: ReturnType<typeof cursorOf>,
): Promise<SourceEntry[]> {
  const stop = AbortSignal.timeout(5_000);
  const entries: SourceEntry[] = [];
  for await (const batch of store.source.stream({
    after,
    rowsMax: 100,
    bytesMax: 1e6,
    signal: stop,
  })) {
    entries.push(...batch);
  }
  return entries;
}

async function firstBatch({ store }: Bench, rowsMax: number): Promise<readonly SourceEntry[]> {
  const { signal } = new AbortController();
  for await (const batch of store.source.stream({
    after: undefined,
    rowsMax,
    bytesMax: 1e6,
    signal,
  })) {
    return batch;
  }
  return [];
}
