import { deepStrictEqual } from 'node:assert/strict';
import { Client } from 'pg';
import { flow, open, put, tally, type Evidence, type OpenApp, type TallyApp } from 'tallystick';
import { postgres, table, type PostgresOptions, type PostgresStore } from 'tallystick/postgres';
import type { FlowOptions } from '../../src/flow/definition.ts';
import type { OpenOptions } from '../../src/app/open.ts';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';

/** Long enough for whatever a busy machine does to a server that starts. */
const PATIENCE_MS = 60_000;
const LOOK_EVERY_MS = 50;

/** The table of the owner, and the one of the target. */
export const ITEMS = 'CREATE TABLE items (id int PRIMARY KEY, name text, n int NOT NULL DEFAULT 0)';
const copies = table({ key: ['id'], columns: { id: 'int4', name: 'text', n: 'int4' } });

export interface CopyParts {
  /** The folder of ledger and log. */
  readonly dir: string;
  /** Of the owner, and of the target: two databases. */
  readonly from: string;
  readonly to: string;
  readonly source?: Partial<PostgresOptions>;
  readonly flow?: Partial<FlowOptions>;
}

type CopyStores = {
  readonly orders: StoreDefinition<PostgresStore>;
  readonly search: StoreDefinition<PostgresStore>;
};
export type CopyApp = OpenApp<CopyStores>;

/** An application with one flow, from `items` of one database to `copies` of another. */
function copyApp({ dir, from, to, source, flow: extra }: CopyParts): TallyApp<CopyStores> {
  return tally({
    name: 'shop',
    dir,
    stores: {
      orders: postgres({ url: from, slot: 'tally_shop', ...source }),
      search: postgres({ url: to, targets: { copies } }),
    },
    flows: {
      copy: flow({
        from: 'orders',
        tables: ['items'],
        to: 'search',
        into: 'copies',
        batchRows: 100,
        project: (row) =>
          put('copies', [row['id'] as number], {
            id: row['id'] ?? null,
            name: row['name'] ?? null,
            n: row['n'] ?? null,
          }),
        ...extra,
      }),
    },
  });
}

export function openCopy(parts: CopyParts, options: OpenOptions = {}): Promise<CopyApp> {
  return open(copyApp(parts), options);
}

/** Runs statements as somebody who knows nothing of the coordinator; the rows of the last one. */
export async function ask(
  url: string,
  text: string,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const result: unknown = await client.query(text);
    const last = Array.isArray(result) ? (result.at(-1) as unknown) : result;
    return (last as { readonly rows: Record<string, unknown>[] }).rows;
  } finally {
    await client.end();
  }
}

/** Inserts or changes a row through the application; its evidence. */
export async function put1(app: CopyApp, id: number, name: string): Promise<Evidence> {
  const { evidence } = await app.write('orders', (tx) =>
    tx.query(
      'INSERT INTO items VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = items.n + 1',
      [id, name],
    ),
  );
  return evidence;
}

/** Looks until there is an answer: after a failover or a restart an error is one of the things to wait out. */
export async function eventually<Found>(
  look: () => Promise<Found | undefined>,
  what: string,
): Promise<Found> {
  const untilMs = systemClock.monotonicMs() + PATIENCE_MS;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    if (systemClock.monotonicMs() > untilMs) throw new Error(`${what} never came`);
    await systemClock.sleep(LOOK_EVERY_MS);
  }
}

/** Waits until the capture of the owner stands like that. */
export async function laneIs(app: CopyApp, kind: string, code?: string): Promise<string> {
  return eventually(
    async () => {
      const worker = (await app.status()).lanes[0]?.worker;
      if (worker?.kind !== kind) return undefined;
      if (code !== undefined && !('code' in worker && worker.code === code)) return undefined;
      return 'message' in worker ? worker.message : '';
    },
    `a capture that is ${kind} ${code ?? ''}`,
  );
}

/** Waits until evidence is applied; says how everything stands if it is not. */
export async function applied(app: CopyApp, after: Evidence): Promise<void> {
  const freshness = await app.barrier('search', { after, within: '60s' });
  if (freshness.kind !== 'fresh')
    throw new Error(`${JSON.stringify(freshness)}: ${JSON.stringify(await app.status())}`);
}

/** Whether a barrier on evidence says so, without waiting. */
export async function verdict(app: CopyApp, after: Evidence): Promise<string> {
  return (await app.barrier('search', { after, within: 0 })).kind;
}

/** The oracle: the rows of owner and target, by plain SQL. */
export async function rows(url: string, name: 'items' | 'copies'): Promise<readonly unknown[]> {
  return ask(url, `SELECT id, name, n FROM ${name} ORDER BY id`);
}

/** Writes once more, waits for that, and compares owner and target. */
export async function converged(app: CopyApp, { from, to }: CopyParts): Promise<void> {
  const last = await eventually(async () => {
    const evidence = await put1(app, 1_000_000, 'last');
    return (await verdict(app, evidence)) === 'incomparable' ? undefined : evidence;
  }, 'a write with evidence');
  await applied(app, last);
  deepStrictEqual(await rows(to, 'copies'), await rows(from, 'items'));
}
