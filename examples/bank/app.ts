import { join } from 'node:path';
import { flow, tally, type OpenApp, type TallyApp } from 'tallystick';
import { columnar, duckdb, type DuckdbStore } from 'tallystick/duckdb';
import {
  edges,
  fullText,
  sqlite,
  table,
  type SqliteEventsStore,
  type SqliteStore,
} from 'tallystick/sqlite';
import type { StoreDefinition } from 'tallystick';
import { accountDecider } from './account.ts';
import { balances, movements, names, payments } from './views.ts';

/** The stores of the bank: one holds the truth, four hold what is read of it, one what can be forgotten. */
export type BankStores = {
  readonly bank: StoreDefinition<SqliteEventsStore>;
  readonly views: StoreDefinition<SqliteStore>;
  readonly search: StoreDefinition<SqliteStore>;
  readonly graph: StoreDefinition<SqliteStore>;
  readonly reports: StoreDefinition<DuckdbStore>;
  readonly desk: StoreDefinition<SqliteStore>;
};

export type OpenBank = OpenApp<BankStores>;

/** The bank in a folder: events in one store, and four flows that make four read models of them. */
export function bankApp(dir: string): TallyApp<BankStores> {
  const file = (name: string): string => join(dir, name);
  const events = { from: 'bank', tables: ['events'] } as const;
  return tally({
    name: 'bank',
    dir: file('tally'),
    stores: {
      // the truth: what happened to each account, append-only
      bank: sqlite({ file: file('bank.db'), capture: 'events' }),
      // by key: the balance of an account
      views: sqlite({
        file: file('views.db'),
        targets: {
          balances: table({
            key: ['account'],
            columns: {
              account: 'TEXT',
              status: 'TEXT',
              owner: 'TEXT',
              cents: 'INTEGER',
              version: 'INTEGER',
            },
          }),
        },
      }),
      // full text: accounts by the name of their owner
      search: sqlite({
        file: file('search.db'),
        targets: { names: fullText({ columns: ['owner'] }) },
      }),
      // graph: who paid whom
      graph: sqlite({ file: file('graph.db'), targets: { payments: edges() } }),
      // columnar: every movement of money
      reports: duckdb({
        file: file('reports.duckdb'),
        memoryLimit: '256MB',
        targets: {
          movements: columnar({
            key: ['account', 'version'],
            columns: {
              account: 'VARCHAR',
              version: 'INTEGER',
              kind: 'VARCHAR',
              cents: 'BIGINT',
              atMs: 'BIGINT',
            },
            appendOnly: true,
          }),
        },
      }),
      // answers of commands, for a day, and snapshots of accounts: nothing that could not be had again
      desk: sqlite({ file: file('desk.db') }),
    },
    flows: {
      balances: flow({ ...events, to: 'views', into: 'balances', fold: balances }),
      names: flow({ ...events, to: 'search', into: 'names', project: names }),
      payments: flow({ ...events, to: 'graph', into: 'payments', fold: payments }),
      movements: flow({ ...events, to: 'reports', into: 'movements', project: movements }),
    },
    deciders: { bank: [accountDecider] },
  });
}
