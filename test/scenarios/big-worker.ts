/**
 * The process whose memory the test of large work measures: it does one kind of large work with an application
 * of two SQLite stores and leaves what it saw in a file.
 */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { flow, open, put, tally } from 'tallystick';
import { segmentLog } from 'tallystick/files';
import { sqlite } from 'tallystick/sqlite';
import { systemClock } from '../../src/runtime/clock.ts';

const [dir = '', work = ''] = process.argv.slice(2);
const sourceFile = join(dir, 'source.db');
const targetFile = join(dir, 'target.db');
const ROWS = 300_000;

const insertMany = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
  INSERT INTO items SELECT i, 'row ' || i FROM n`;

/** How many rows a kind of work makes, and how. */
const kinds: Readonly<
  Record<string, { rows: number; before?: string; write: (db: DatabaseSync) => void }>
> = {
  transaction: { rows: ROWS, write: (db) => db.exec(insertMany) },
  backfill: { rows: ROWS, before: insertMany, write: () => undefined },
  wide: {
    rows: 1_000,
    write: (db) => {
      const insert = db.prepare('INSERT INTO items VALUES (?, ?)');
      for (let id = 1; id <= 1_000; id += 1) insert.run(id, 'w'.repeat(100_000));
    },
  },
  huge: {
    rows: 1,
    write: (db) => db.prepare('INSERT INTO items VALUES (1, ?)').run('h'.repeat(10_000_000)),
  },
};

const app = tally({
  name: 'big',
  dir: join(dir, 'tally'),
  stores: { source: sqlite({ file: sourceFile }), target: sqlite({ file: targetFile }) },
  log: () => segmentLog({ dir: join(dir, 'log'), segmentBytes: 4 * 1024 * 1024 }),
  flows: {
    copy: flow({
      from: 'source',
      tables: ['items'],
      to: 'target',
      into: 'copies',
      project: (row) => put('copies', [row['id'] as number], row),
    }),
  },
});

async function main(): Promise<void> {
  const kind = kinds[work] ?? { rows: 0, write: () => undefined };
  {
    using db = new DatabaseSync(sourceFile);
    db.exec('CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)');
    db.exec(kind.before ?? '');
  }
  await using running = await open(app);
  if (kind.before === undefined)
    await running.barrier('target', {
      after: (await running.write('source', () => undefined)).evidence,
      within: '10s',
    });
  using look = new DatabaseSync(targetFile);
  const seen = (): number => Number(look.prepare('SELECT count(*) AS n FROM copies').get()?.['n']);
  const baseBytes = process.memoryUsage.rss();
  const startedAtMs = systemClock.monotonicMs();
  const { evidence } = await running.write('source', (db) => kind.write(db));
  const partial: number[] = [];
  let early = 0;
  for (;;) {
    const { kind: answer } = await running.barrier('target', { after: evidence, within: '20ms' });
    const rows = work === 'backfill' && answer !== 'fresh' ? 0 : seen();
    if (answer === 'fresh') {
      if (rows < kind.rows) early += 1;
      break;
    }
    if (rows > 0 && rows < kind.rows) partial.push(rows);
    await systemClock.sleep(50);
  }
  const tookMs = systemClock.monotonicMs() - startedAtMs;
  let left = { logBytes: Infinity, changes: Infinity };
  for (
    let tries = 0;
    tries < 80 && (left.logBytes > 8 * 1024 * 1024 || left.changes > 1);
    tries += 1
  ) {
    await systemClock.sleep(100);
    // What is acknowledged goes with the next commit that is.
    if (tries % 10 === 0)
      await running.write('source', (db) => db.exec('DELETE FROM items WHERE id = 1'));
    left = {
      logBytes: (await running.status()).lanes[0]?.log.bytes ?? Infinity,
      changes: Number(
        running.stores.source.client.prepare('SELECT count(*) AS n FROM _tally_changes').get()?.[
          'n'
        ],
      ),
    };
  }
  writeFileSync(
    join(dir, 'seen.json'),
    JSON.stringify({
      early,
      partial: partial.length,
      rows: seen(),
      tookMs: Math.round(tookMs),
      peakMiB: Math.round(process.resourceUsage().maxRSS / 1024),
      baseMiB: Math.round(baseBytes / 2 ** 20),
      sourceMiB: Math.round(statSync(sourceFile).size / 2 ** 20),
      ...left,
    }),
  );
}

await main();
