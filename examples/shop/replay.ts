import type { DatabaseSync } from 'node:sqlite';
import type { OpenShop } from './app.ts';
import { placeOrder, stockProduct, type NewOrder } from './commerce.ts';
import { readOrderLines, type BadLine, type InputLine } from './input.ts';

/** Lines in one transaction, more or less: an order is not cut, unless it is longer than that itself. */
const LINES_PER_COMMIT = 400;

/** Lines of one order that stand together in the file. */
interface Invoice {
  readonly first: InputLine;
  readonly lines: InputLine[];
}

/** What is committed together: orders, bad lines, and the line of the file they reach to. */
class Batch {
  readonly invoices: Invoice[] = [];
  readonly bad: BadLine[] = [];
  lines = 0;
  reaches = 0;

  add(line: InputLine | BadLine): void {
    this.reaches = Math.max(this.reaches, line.at);
    if ('reason' in line) {
      this.bad.push(line);
      return;
    }
    this.lines += 1;
    const open = this.invoices.at(-1);
    if (open?.first.invoice === line.invoice) open.lines.push(line);
    else this.invoices.push({ first: line, lines: [line] });
  }

  isFull(next: InputLine | BadLine): boolean {
    if (this.lines + this.bad.length < LINES_PER_COMMIT) return false;
    const goesOn = 'invoice' in next && this.invoices.at(-1)?.first.invoice === next.invoice;
    return !goesOn || this.lines >= 4 * LINES_PER_COMMIT;
  }
}

/**
 * Sells the lines of a file, each once: how far it has got is committed with the rows, so that a replay that
 * was killed goes on after the last line it sold. Lines that cannot be sold are kept with their reason.
 */
export async function replay(shop: OpenShop, file: string, signal: AbortSignal): Promise<void> {
  const done = reached(shop.stores.orders.client, file);
  let batch = new Batch();
  for await (const line of readOrderLines(file)) {
    if (signal.aborted) return;
    if (line.at <= done) continue;
    if (batch.isFull(line)) {
      await commit(shop, file, batch);
      batch = new Batch();
    }
    batch.add(line);
  }
  await commit(shop, file, batch);
}

function reached(database: DatabaseSync, file: string): number {
  const row = database.prepare('SELECT line FROM replays WHERE file = ?').get(file);
  return Number(row?.['line'] ?? 0);
}

async function commit(shop: OpenShop, file: string, batch: Batch): Promise<void> {
  if (batch.reaches === 0) return;
  await shop.write('orders', (tx) => {
    for (const { first, lines } of batch.invoices) sell(tx, first, lines);
    const addBad = tx.prepare('INSERT INTO bad_lines (file, line, reason) VALUES (?, ?, ?)');
    for (const { at, reason } of batch.bad) addBad.run(file, at, reason);
    tx.prepare(
      `INSERT INTO replays (file, line, replayed) VALUES (?1, ?2, ?3)
       ON CONFLICT (file) DO UPDATE SET line = ?2, replayed = replayed + ?3`,
    ).run(file, batch.reaches, batch.lines);
  });
}

function sell(tx: DatabaseSync, first: InputLine, lines: readonly InputLine[]): void {
  for (const { sku, title, priceMilli } of lines)
    stockProduct(tx, { sku, title, category: 'replayed', priceMilli });
  const { invoice, customerId, country } = first;
  const order: NewOrder = {
    id: invoice,
    kind: invoice.startsWith('C') ? 'cancellation' : 'sale',
    customerId,
    country,
    at: Date.now(),
    lines: lines.map(({ sku, title, quantity, priceMilli }) => ({
      sku,
      title,
      quantity,
      priceMilli,
    })),
  };
  placeOrder(tx, order);
}
