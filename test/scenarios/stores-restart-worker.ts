/**
 * A process that writes as fast as it can until it is told to stop: SIGTERM closes the application and leaves
 * the process to end by itself; SIGUSR2 exits without closing anything. With `settle` it waits for everything.
 */
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { flow, open, put, tally } from 'tallystick';
import { segmentLog } from 'tallystick/files';
import { sqlite } from 'tallystick/sqlite';
import { systemClock } from '../../src/runtime/clock.ts';

const [dir = '', mode = ''] = process.argv.slice(2);
const sourceFile = join(dir, 'source.db');

const copy = (into: string) =>
  flow({
    from: 'source',
    tables: ['items'],
    to: 'target',
    into,
    batchRows: 30,
    project: (row) => put(into, [row['id'] as number], row),
  });

async function main(): Promise<void> {
  {
    using db = new DatabaseSync(sourceFile);
    db.exec('CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, n INTEGER)');
  }
  const app = await open(
    tally({
      name: 'restart',
      dir: join(dir, 'tally'),
      stores: {
        source: sqlite({ file: sourceFile }),
        target: sqlite({ file: join(dir, 'target.db') }),
      },
      log: () => segmentLog({ dir: join(dir, 'log'), segmentBytes: 16_384 }),
      flows: { one: copy('one'), two: copy('two') },
    }),
  );
  const stopping = new AbortController();
  process.once('SIGTERM', () => stopping.abort());
  process.once('SIGUSR2', () => process.exit(0));
  process.stdout.write('ready\n');
  if (mode === 'settle') stopping.abort();
  for (let n = 0; !stopping.signal.aborted; n += 1) {
    await app.write('source', (db) => {
      db.prepare('INSERT INTO items (n) VALUES (?)').run(n);
      db.prepare('UPDATE items SET n = n + 1 WHERE id = (SELECT max(id) - 5 FROM items)').run();
      db.prepare('DELETE FROM items WHERE id = (SELECT max(id) - 9 FROM items)').run();
    });
    if (n % 5 === 0) await systemClock.sleep(1);
  }
  const { evidence } = await app.write('source', () => undefined);
  if (mode === 'settle') {
    const { kind } = await app.barrier('target', { after: evidence, within: '20s' });
    if (kind !== 'fresh') process.stderr.write(JSON.stringify([kind, await app.status()]));
  }
  await app.close();
}

await main();
