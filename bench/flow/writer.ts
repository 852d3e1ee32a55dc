import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { open } from '../../src/index.ts';
import { flowApp, INSERT, lineOf } from './app.ts';
import type { WriterSettings, Written } from './messages.ts';
import { tellParent } from './process.ts';

// A web server beside the worker: it writes facts with evidence, in a process of its own. Its commits do
// not wait for the disk, so that the traffic and not the disk is what the flow has to keep up with.

const settings = JSON.parse(process.argv[2] ?? '{}') as WriterSettings;
const { dir, target, firstId, rows, rowsPerTransaction, rowsPerSecond } = settings;
const { stores } = flowApp(dir, target, 'NORMAL');
const orders = stores['orders'];
if (orders === undefined) throw new Error('the application has no orders');
// Only the orders: a second process could not open the DuckDB file of the copy.
const alone = { ...flowApp(dir, target, 'NORMAL'), stores: { orders }, flows: {} };
const app = await open(alone, { run: false });
const source = app.stores.orders.source;
if (source === undefined) throw new Error('the orders are not captured');
// Prepared once: to compile the statement with its triggers takes longer than ten rows.
const insert = (app.stores.orders.client as DatabaseSync).prepare(INSERT);
const firstAtMs = Date.now();
let head = 0;
for (let done = 0; done < rows; done += rowsPerTransaction) {
  const count = Math.min(rowsPerTransaction, rows - done);
  ({ offset: head } = await source.write(() => {
    for (let row = 0; row < count; row++) insert.run(...lineOf(firstId + done + row));
  }));
  if (rowsPerSecond === undefined) continue;
  const aheadMs = ((done + count) / rowsPerSecond) * 1_000 - (Date.now() - firstAtMs);
  if (aheadMs > 0) await sleep(aheadMs);
}
const lastAtMs = Date.now();
await app.close();
tellParent({ firstAtMs, lastAtMs, head } satisfies Written);
process.disconnect();
