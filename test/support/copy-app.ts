import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  flow,
  open,
  put,
  tally,
  type AppStatus,
  type Evidence,
  type FlowOptions,
  type FlowStatus,
  type LaneStatus,
  type OpenApp,
  type OpenOptions,
  type Stores,
  type TallyApp,
} from 'tallystick';
import { sqlite, type SqliteOptions, type SqliteStore } from 'tallystick/sqlite';
import type { StoreDefinition } from '../../src/ports/store.ts';
import { answerTo, leaveRequest, type AppRequest } from '../../src/app/requests.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';

/** Longer than anything here takes, shorter than a test may. */
export const WITHIN = '20s';
const TRIES_MAX = 800;
const PAUSE_MS = 25;

/** An application that copies the table `products` of one SQLite file into another, in a folder of its own. */
export type CopyApp = TallyApp<{
  readonly orders: StoreDefinition<SqliteStore>;
  readonly search: StoreDefinition<SqliteStore>;
}>;
export type OpenCopy = OpenApp<CopyApp['stores']>;

export interface CopyOptions {
  readonly flow?: Partial<FlowOptions>;
  readonly source?: Partial<SqliteOptions>;
  readonly target?: Partial<SqliteOptions>;
  readonly app?: Pick<Partial<TallyApp>, 'ledger' | 'log' | 'dir'>;
}

/** Gives `work` an empty folder with a source that has the table, and removes it. */
export async function inFolder<Result>(work: (dir: string) => Promise<Result>): Promise<Result> {
  const dir = await mkdtemp(join(tmpdir(), 'tally-bad-'));
  try {
    makeSource(join(dir, 'orders.db'));
    return await work(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The owner's table. */
export function makeSource(file: string): void {
  using db = new DatabaseSync(file);
  db.exec('CREATE TABLE IF NOT EXISTS products (sku TEXT PRIMARY KEY, title TEXT, body TEXT)');
}

/** Declares it. */
export function copyApp(dir: string, options: CopyOptions = {}): CopyApp {
  const { ledger, log } = options.app ?? {};
  return tally({
    name: 'copy',
    dir: options.app?.dir ?? join(dir, 'coordinator'),
    ...(ledger === undefined ? {} : { ledger }),
    ...(log === undefined ? {} : { log }),
    stores: {
      orders: sqlite({ file: join(dir, 'orders.db'), ...options.source }),
      search: sqlite({ file: join(dir, 'search.db'), ...options.target }),
    },
    flows: {
      copy: flow({
        from: 'orders',
        tables: ['products'],
        to: 'search',
        into: 'documents',
        project: (row) => put('documents', [row['sku'] as string], row),
        ...options.flow,
      }),
    },
  });
}

/** Declares and opens it. */
export async function openCopy(
  dir: string,
  options: CopyOptions = {},
  openOptions: OpenOptions = {},
): Promise<OpenCopy> {
  return open(copyApp(dir, options), openOptions);
}

/** Writes rows by key and title. */
export async function write(
  app: OpenCopy,
  rows: Readonly<Record<string, string | null>>,
): Promise<Evidence> {
  const { evidence } = await app.write('orders', (db) => {
    const set = db.prepare(
      'INSERT INTO products (sku, title) VALUES (?, ?) ON CONFLICT DO UPDATE SET title = excluded.title',
    );
    const remove = db.prepare('DELETE FROM products WHERE sku = ?');
    for (const [sku, title] of Object.entries(rows)) {
      if (title === null) remove.run(sku);
      else set.run(sku, title);
    }
  });
  return evidence;
}

/** The titles by key that the owner has, by plain SQL. */
export function owned(dir: string): Record<string, unknown> {
  using db = new DatabaseSync(join(dir, 'orders.db'));
  const rows = db.prepare('SELECT sku, title FROM products ORDER BY sku').all();
  return Object.fromEntries(rows.map((row) => [String(row['sku']), row['title']]));
}

/** The titles by key that the target has, by plain SQL. */
export function copied(dir: string): Record<string, unknown> {
  using db = new DatabaseSync(join(dir, 'search.db'));
  const rows = db
    .prepare(
      "SELECT json_extract(document, '$.sku') AS sku, json_extract(document, '$.title') AS title FROM documents ORDER BY 1",
    )
    .all();
  return Object.fromEntries(rows.map((row) => [String(row['sku']), row['title']]));
}

/** Looks until there is something to see; fails with what was seen last. */
export async function until<Found>(
  look: () => Found | undefined | Promise<Found | undefined>,
  seen: () => unknown = () => undefined,
): Promise<Found> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await systemClock.sleep(PAUSE_MS);
  }
  throw new Error(`it never came; the last was ${JSON.stringify(await seen())}`);
}

/** The status of a boundary or lane, once it is of this kind (and code). */
export async function stateOf<Declared extends Stores>(
  app: OpenApp<Declared>,
  part: 'flow' | 'lane',
  kind: FlowStatus['worker']['kind'],
  code?: string,
): Promise<FlowStatus | LaneStatus> {
  return until(
    async () => {
      const { flows, lanes } = await app.status();
      return (part === 'flow' ? flows : lanes).find(
        ({ worker }) =>
          worker.kind === kind &&
          (code === undefined || ('code' in worker && worker.code === code)),
      );
    },
    async (): Promise<AppStatus> => app.status(),
  );
}

/** Asks the worker through the ledger, as the command line does. */
export async function ask<Declared extends Stores>(
  app: OpenApp<Declared>,
  request: AppRequest,
): Promise<number | undefined> {
  return answerTo(
    app.ledger,
    systemClock,
    await leaveRequest(app.ledger, systemRandom, request),
    20_000,
  );
}

export const resnapshot: AppRequest = { of: 'lane', lane: 'orders', request: 'resnapshot' };
export const retryAll: AppRequest = {
  of: 'flow',
  flow: 'copy',
  request: { kind: 'retry-parked', unit: undefined },
};
