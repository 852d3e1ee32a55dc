import { join } from 'node:path';
import { isTallyError, open } from 'tallystick';
import { shop, type OpenShop } from './app.ts';
import { makeCatalogue, openShelves, uploadImages } from './catalogue.ts';
import { EvidenceReads } from './evidence-reads.ts';
import { trackPhase } from './phase.ts';
import { ordersIn } from './orders/index.ts';
import { createTablesInPostgres } from './orders/postgres.ts';
import { createTablesInSqlite } from './orders/sqlite.ts';
import { patiently } from './patience.ts';
import {
  CONFIG_VARIABLE,
  type FromWorker,
  type ShopStatus,
  type ToWorker,
  type WorkerConfig,
} from './protocol.ts';
import { replay } from './replay.ts';
import { Traffic } from './traffic.ts';

// The worker process: the shop and its flows. It may be killed at any moment and started again.

const STATUS_MS = 250;

const config = JSON.parse(process.env[CONFIG_VARIABLE] ?? '{}') as WorkerConfig;
const { dir, servers } = config;
const place = servers === undefined ? 'in files' : 'on servers';
const stopping = new AbortController();
const finish = Promise.withResolvers<ToWorker>();

// Ctrl-C reaches every process of the terminal: the supervisor decides what then.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
// Without its supervisor a worker has nobody to work for.
process.on('disconnect', () => process.exit());
process.on('message', (message: ToWorker) => {
  stopping.abort();
  finish.resolve(message);
});

try {
  await work();
  process.exitCode = 0;
} catch (error) {
  const code = isTallyError(error) ? `${error.code}: ` : '';
  const text = error instanceof Error ? error.message : String(error);
  await send({ kind: 'failed', message: `${code}${text}` });
  process.exitCode = 1;
}
process.disconnect?.();

async function work(): Promise<void> {
  trackPhase(join(dir, 'phase'));
  await using opened = await patiently(place, stopping.signal, openShop);
  const reads = new EvidenceReads(opened);
  await send({ kind: 'running' });

  const sendStatus = async (): Promise<void> =>
    send({ kind: 'status', status: await statusOf(opened, reads) });
  const timer = setInterval(() => void sendStatus().catch(() => undefined), STATUS_MS);

  const serving = serve(opened, reads);
  serving.catch(() => finish.resolve({ kind: 'finish', withinMs: 0 }));
  const { withinMs } = await finish.promise;
  await serving;
  await reads.settled();
  const behind = await settle(opened, withinMs);
  clearInterval(timer);
  await send({ kind: 'settled', behind, status: await statusOf(opened, reads) });
}

async function openShop(): Promise<OpenShop> {
  if (servers === undefined) createTablesInSqlite(join(dir, 'orders.db'));
  else await createTablesInPostgres(servers.postgresUrl);
  return open(shop(dir, servers));
}

/** Takes orders until the supervisor says stop, or the file that is replayed has ended. */
async function serve(opened: OpenShop, reads: EvidenceReads): Promise<void> {
  const { seed, ordersPerSecond, input } = config;
  if (input !== undefined) {
    await patiently(place, stopping.signal, () => replay(opened, input, stopping.signal));
    return send({ kind: 'replayed' });
  }
  const products = makeCatalogue(seed);
  await patiently(place, stopping.signal, () => openShelves(opened, products));
  const traffic = new Traffic({ shop: opened, reads, products, seed, ordersPerSecond });
  await Promise.all([
    patiently(place, stopping.signal, () => traffic.run(stopping.signal)),
    uploadImages(opened, products, stopping.signal),
  ]);
}

/** Waits until every store has what was committed last; names those that have it not, and why. */
async function settle(opened: OpenShop, withinMs: number): Promise<readonly string[]> {
  // An empty transaction leaves the evidence of everything before it.
  const { evidence } = await opened.write('orders', () => undefined);
  const targets = [...new Set(Object.values(shop(dir, servers).flows).map(({ to }) => to))];
  const answers = await Promise.all(
    targets.map(async (target) => {
      const store = target as keyof OpenShop['stores'];
      const { kind } = await opened.barrier(store, { after: evidence, within: withinMs });
      return kind === 'fresh' ? [] : [`${target}: ${kind}`];
    }),
  );
  const { flows } = await opened.status();
  const troubles = flows.flatMap(({ flow, worker }) =>
    worker.kind === 'running' || !('message' in worker)
      ? []
      : [`${flow} is ${worker.kind}: ${worker.message}`],
  );
  return [...answers.flat(), ...troubles];
}

async function statusOf(opened: OpenShop, reads: EvidenceReads): Promise<ShopStatus> {
  const orders = ordersIn(opened.stores.orders.client);
  const counts = {
    orders: await orders.count('orders'),
    customers: await orders.count('customers'),
    lines: await orders.count('order_lines'),
  };
  return { app: await opened.status(), reads: reads.report(), counts };
}

async function send(message: FromWorker): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // A supervisor that has gone is told nothing; the worker then ends by itself.
  if (process.send === undefined || !process.connected) return;
  process.send(message, undefined, undefined, () => resolve());
  return promise;
}
