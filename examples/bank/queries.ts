import { readModels, type Query } from 'tallystick/cqrs';
import type { OpenBank } from './app.ts';
import type { Accounts } from './commands.ts';

/** An account as it is shown. */
export interface ShownAccount {
  readonly account: string;
  readonly status: string;
  readonly owner: string;
  readonly cents: number;
}

/** What can be asked of the bank. */
export interface BankQueries {
  readonly account: Query<string, ShownAccount | undefined>;
  readonly accountsNamed: Query<string, readonly string[]>;
  readonly paidBy: Query<string, readonly { readonly to: string; readonly cents: number }[]>;
  readonly turnover: Query<
    void,
    { readonly movements: number; readonly inCents: number; readonly outCents: number }
  >;
}

/** Each query goes to the model that is made for it, and to another one while that is behind or down. */
export function bankQueries(bank: OpenBank, accounts: Accounts): BankQueries {
  const models = readModels(bank, {
    balances: { store: 'views', about: 'accounts', offers: ['key', 'relational'] },
    names: { store: 'search', about: 'accounts', offers: ['search'] },
    history: { store: 'bank', about: 'accounts', offers: ['events'] },
    payments: { store: 'graph', about: 'payments', offers: ['graph'] },
    movements: { store: 'reports', about: 'payments', offers: ['analytics'] },
  });
  return {
    account: models.query<string, ShownAccount | undefined>({
      about: 'accounts',
      fresh: { within: '2s' },
      ways: [
        {
          needs: 'key',
          by: {
            sqlite: async (_db, id, { store, target }) =>
              shownOf(await store.query.get(target, [id])),
          },
        },
        // The events are never behind themselves: slower, and always there.
        {
          needs: 'events',
          by: {
            sqlite: async (_db, id) => {
              const { state, version } = await accounts.load(id);
              return version === 0 ? undefined : { account: id, ...state };
            },
          },
        },
      ],
    }),
    accountsNamed: models.query<string, readonly string[]>({
      about: 'accounts',
      fresh: { within: '2s' },
      ways: [
        {
          needs: 'search',
          by: {
            sqlite: async (_db, text, { store, target }) => {
              const found = await store.query.search(target, text);
              return found.map(({ key }) => String(key[0])).toSorted();
            },
          },
        },
        {
          needs: 'relational',
          by: {
            sqlite: (db, text, { target }) =>
              db
                .prepare(
                  `SELECT account FROM ${target} WHERE status = 'open' AND owner LIKE ? ORDER BY account`,
                )
                .all(`%${text}%`)
                .map((row) => String(row['account'])),
          },
        },
      ],
    }),
    paidBy: models.query<string, readonly { readonly to: string; readonly cents: number }[]>({
      about: 'payments',
      fresh: { within: '2s' },
      ways: [
        {
          needs: 'graph',
          by: {
            sqlite: async (_db, id, { store, target }) => {
              const paid = await store.query.neighbours(target, id, { kind: 'paid' });
              return paid.map(({ node, edge }) => ({ to: node, cents: Number(edge['cents']) }));
            },
          },
        },
      ],
    }),
    turnover: models.query<
      void,
      { readonly movements: number; readonly inCents: number; readonly outCents: number }
    >({
      about: 'payments',
      fresh: { within: '5s' },
      ways: [
        {
          needs: 'analytics',
          by: {
            duckdb: async (connection, _input, { target }) => {
              const found = await connection.runAndReadAll(
                `SELECT count(*)::DOUBLE, coalesce(sum(cents) FILTER (cents > 0), 0)::DOUBLE,
                        coalesce(-sum(cents) FILTER (cents < 0), 0)::DOUBLE FROM ${target}`,
              );
              const [movements = 0, inCents = 0, outCents = 0] = (found.getRows()[0] ?? []).map(
                Number,
              );
              return { movements, inCents, outCents };
            },
          },
        },
      ],
    }),
  };
}

function shownOf(row: Readonly<Record<string, unknown>> | undefined): ShownAccount | undefined {
  if (row === undefined) return undefined;
  const { account, status, owner, cents } = row;
  return {
    account: String(account),
    status: String(status),
    owner: String(owner),
    cents: Number(cents),
  };
}
