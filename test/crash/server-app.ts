import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { flow, put, tally, type FlowDefinition, type TallyApp } from 'tallystick';
import { duckdb } from 'tallystick/duckdb';
import { segmentLog } from 'tallystick/files';
import { postgres, postgresLedger, postgresLog, type PostgresStore } from 'tallystick/postgres';
import { redis } from 'tallystick/redis';
import { sqlite } from 'tallystick/sqlite';
import { unreachable } from '../../src/core/errors.ts';
import type { StoreDefinition } from '../../src/ports/store.ts';

// The application that is killed, in whole or in parts: one table in PostgreSQL, carried to targets on servers and
// in files, each by a row flow and by a fold.

export const targetNames = ['redis', 'postgres', 'sqlite', 'duckdb'] as const;
export type TargetName = (typeof targetNames)[number];

/** Where everything of one story is. It fits an argument of a process, as JSON. */
export interface Setup {
  readonly dir: string;
  /** The database that owns the facts, and the one that is a target. */
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly redisUrl: string;
  readonly prefix: string;
  readonly targets: readonly TargetName[];
  /** Where the coordinator keeps its ledger and its log. */
  readonly state: 'files' | 'postgres';
  /** Over how many hash slots Redis spreads its rows; with more than one it keeps no folds. */
  readonly buckets?: number;
  /** Rows of a batch, where it is not what the process says. */
  readonly batchRows?: number;
}

/** The checksum of everything that happened to a key, in order: one change lost, doubled or swapped shows for ever. */
export function chained(chain: number, n: number): number {
  return crc32(`${chain}:${n}`);
}

/** The owner's table, and the number of the last transaction, which is not captured. */
export const schema = `
  CREATE TABLE IF NOT EXISTS counters (key text PRIMARY KEY, n int NOT NULL, chain bigint NOT NULL);
  CREATE TABLE IF NOT EXISTS done (number int NOT NULL)`;

export interface Flows {
  /** Whether the projection takes the key `poison`. */
  readonly healed: boolean;
  /** Rows of a batch: few, where a point is to be passed often. */
  readonly batchRows: number;
}

/** A row flow: what the target holds of a key is what the source holds. */
function copies(to: string, { healed, batchRows }: Flows): FlowDefinition {
  return flow({
    from: 'orders',
    tables: ['counters'],
    to,
    into: 'copies',
    batchRows,
    project: ({ key = null, n = null, chain = null }) => {
      if (!healed && key === 'poison') throw new Error('poisoned');
      return put('copies', [key as string], { key, n, chain });
    },
  });
}

/** A fold, which computes the checksum from the changes alone. */
function chains(to: string, { batchRows }: Flows): FlowDefinition {
  return flow({
    from: 'orders',
    tables: ['counters'],
    to,
    into: 'chains',
    batchRows,
    fold: {
      apply: async ({ operation, key, after }, state) => {
        const name = String(key[0]);
        if (after === null) {
          state.delete(name);
          return { target: 'chains', key, row: null };
        }
        const before = ((await state.get(name)) as number | undefined) ?? 0;
        const n = Number(after['n']);
        const chain = operation === 'read' ? Number(after['chain']) : chained(before, n);
        state.set(name, chain);
        return put('chains', key, { key: name, n, chain });
      },
    },
  });
}

function targetStore(name: TargetName, setup: Setup): StoreDefinition {
  switch (name) {
    case 'redis':
      return redis({
        url: setup.redisUrl,
        prefix: setup.prefix,
        buckets: setup.buckets ?? 1,
      });
    case 'postgres':
      return postgres({ url: setup.targetUrl });
    case 'sqlite':
      return sqlite({ file: join(setup.dir, 'target.db') });
    case 'duckdb':
      return duckdb({ file: join(setup.dir, 'target.duckdb') });
    default:
      return unreachable(name);
  }
}

export type ServerApp = TallyApp<
  Record<string, StoreDefinition> & { readonly orders: StoreDefinition<PostgresStore> }
>;

/** Declares it. */
export function serverApp(
  setup: Setup,
  flows: Flows = { healed: true, batchRows: 200 },
): ServerApp {
  const { dir, sourceUrl: url, targets, state } = setup;
  return tally({
    name: 'killed',
    dir: join(dir, 'coordinator'),
    stores: {
      ...Object.fromEntries(targets.map((name) => [name, targetStore(name, setup)])),
      orders: postgres({ url }),
    },
    ...(state === 'files' ? {} : { ledger: postgresLedger({ url }) }),
    log: (lane) =>
      state === 'files'
        ? segmentLog({ dir: join(dir, 'log'), segmentBytes: 16 * 1024 })
        : postgresLog({ url, lane }),
    flows: Object.fromEntries(
      targets.flatMap((name) => [
        [`copy-${name}`, copies(name, flows)],
        ...(setup.buckets === undefined ? [[`chain-${name}`, chains(name, flows)] as const] : []),
      ]),
    ),
  });
}
