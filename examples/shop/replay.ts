import { TallyError } from 'tallystick';
import type { OpenShop } from './app.ts';
import { placeOrder, stockProducts } from './commerce.ts';
import { readOrderLines, type InputLine } from './input.ts';
import { ordersIn } from './orders/index.ts';
import type { BadLine, Orders } from './orders/orders.ts';

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
  let done = await ordersIn(shop.stores.orders.client).replayedTo(file);
  let batch = new Batch();
  for await (const line of readOrderLines(file)) {
    if (signal.aborted) return;
    if (line.at <= done) continue;
    if (batch.isFull(line)) {
      done = await commit(shop, file, { from: done, batch });
      batch = new Batch();
    }
    batch.add(line);
  }
  await commit(shop, file, { from: done, batch });
}

/** Commits a batch, and answers the line that it reaches to. */
async function commit(
  shop: OpenShop,
  file: string,
  { from, batch }: { readonly from: number; readonly batch: Batch },
): Promise<number> {
  const { invoices, bad, lines, reaches } = batch;
  if (reaches === 0) return from;
  await shop.write('orders', async (tx) => {
    const orders = ordersIn(tx);
    if (!(await orders.advanceReplay(file, { from, to: reaches, lines }))) throw overtaken(file);
    await orders.addBadLines(file, bad);
    await sell(orders, invoices);
  });
  return reaches;
}

/** A server may commit the last transaction of a worker only after the next worker has begun. */
function overtaken(file: string): TallyError {
  return new TallyError('CONDITION_FAILED', {
    what: 'somebody else has sold these lines meanwhile',
    where: file,
    mend: 'begin again after the last line that was sold',
  });
}

async function sell(orders: Orders, invoices: readonly Invoice[]): Promise<void> {
  const lines = invoices.flatMap((invoice) => invoice.lines);
  const products = lines.map(({ sku, title, priceMilli }) => ({
    sku,
    title,
    category: 'replayed',
    priceMilli,
  }));
  await stockProducts(orders, products);
  for (const invoice of invoices) {
    const { invoice: id, customerId, country } = invoice.first;
    await placeOrder(orders, {
      id,
      kind: id.startsWith('C') ? 'cancellation' : 'sale',
      customerId,
      country,
      at: Date.now(),
      lines: invoice.lines.map(({ sku, title, quantity, priceMilli }) => ({
        sku,
        title,
        quantity,
        priceMilli,
      })),
    });
  }
}
