import type { DatabaseSync } from 'node:sqlite';
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { flow, open, tally, type EventStore, type OpenApp, type StoreDefinition } from 'tallystick';
import { aggregates, type Aggregates } from 'tallystick/events';
import { memory, type MemoryStore } from 'tallystick/memory';
import { postgres, type PostgresEventsStore } from 'tallystick/postgres';
import { sqlite, type SqliteEventsStore } from 'tallystick/sqlite';
import { accountDecider, type AccountTypes } from '../support/account.ts';
import { tempDir } from '../support/scenario.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

const dir = tempDir();
const account = accountDecider({ snapshot: { every: 5, version: 1 } });
const CREATE = `CREATE TABLE IF NOT EXISTS balances (
  account text NOT NULL, version integer NOT NULL, cents integer NOT NULL, PRIMARY KEY (account, version))`;

/** A bank whose balances are written with the events that they follow from. */
interface Bank extends AsyncDisposable {
  readonly events: EventStore;
  /** Another one, as another process has it: it shares no turns with the first. */
  accounts(): Aggregates<AccountTypes>;
  /** The rows, in order. */
  balances(): Promise<readonly (readonly number[])[]>;
}

// Evidence is of lanes that something reads.
const views = flow({
  from: 'bank',
  tables: ['events'],
  to: 'views',
  into: 'views',
  project: () => undefined,
});

const poison = 13;

function checkPoison(cents: number): void {
  if (cents === poison) throw new Error('no balance may have thirteen cents');
}

async function inSqlite(): Promise<Bank> {
  const app: OpenApp<{
    readonly bank: StoreDefinition<SqliteEventsStore>;
    readonly views: StoreDefinition<MemoryStore>;
  }> = await open(
    tally({
      name: 'bank',
      dir: dir('tally'),
      stores: { bank: sqlite({ file: dir('bank.db'), capture: 'events' }), views: memory() },
      flows: { views },
    }),
  );
  const { client, events } = app.stores.bank;
  client.exec(CREATE);
  return {
    events,
    accounts: () =>
      aggregates<AccountTypes, DatabaseSync>(account, {
        events,
        inline: {
          write: (work) => app.write('bank', work),
          rows: (tx, { stream, version, state: { cents } }) => {
            tx.prepare('INSERT INTO balances VALUES (?, ?, ?)').run(stream, version, cents);
            checkPoison(cents);
          },
        },
      }),
    balances: async () =>
      client
        .prepare('SELECT version, cents FROM balances ORDER BY account, version')
        .all()
        .map(({ version, cents }) => [Number(version), Number(cents)]),
    [Symbol.asyncDispose]: () => app.close(),
  };
}

async function inPostgres(): Promise<Bank> {
  const database = await freshDatabase();
  const app: OpenApp<{
    readonly bank: StoreDefinition<PostgresEventsStore>;
    readonly views: StoreDefinition<MemoryStore>;
  }> = await open(
    tally({
      name: 'bank',
      dir: dir('tally'),
      stores: { bank: postgres({ url: database.url, capture: 'events' }), views: memory() },
      flows: { views },
    }),
  );
  const { client, events } = app.stores.bank;
  await client.query(CREATE);
  return {
    events,
    accounts: () =>
      aggregates<AccountTypes, pg.ClientBase>(account, {
        events,
        inline: {
          write: (work) => app.write('bank', work),
          rows: async (tx, { stream, version, state: { cents } }) => {
            await tx.query('INSERT INTO balances VALUES ($1, $2, $3)', [stream, version, cents]);
            checkPoison(cents);
          },
        },
      }),
    balances: async () => {
      const { rows } = await client.query<{ version: number; cents: number }>(
        'SELECT version, cents FROM balances ORDER BY account, version',
      );
      return rows.map(({ version, cents }) => [version, cents]);
    },
    [Symbol.asyncDispose]: async () => {
      await app.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

const engines: Readonly<Record<string, () => Promise<Bank>>> = {
  sqlite: inSqlite,
  ...(hasPostgres ? { postgres: inPostgres } : {}),
};

describe.each(Object.entries(engines))('rows beside the events of a command, on %s', (_, make) => {
  test('commit with them, once for each command, whoever is faster', async () => {
    await using bank = await make();
    await bank.accounts().handle('ada', { kind: 'open', owner: 'Ada' });
    const processes = [bank.accounts(), bank.accounts(), bank.accounts()];
    await Promise.all(
      processes.flatMap((accounts, number) =>
        Array.from({ length: 6 }, (_command, n) =>
          accounts.handle('ada', { kind: 'deposit', cents: 100 }, { key: `${number}/${n % 5}` }),
        ),
      ),
    );
    // Fifteen keys, of which three came twice.
    expect(await bank.balances()).toEqual(
      Array.from({ length: 16 }, (_row, n) => [n + 1, n * 100]),
    );
    expect(await bank.events.version('account-ada')).toBe(16);
    const again = await bank
      .accounts()
      .handle('ada', { kind: 'deposit', cents: 100 }, { key: '1/1' });
    expect(again.repeated).toBe(true);
    expect(await bank.balances()).toHaveLength(16);
  }, 30_000);

  test('that cannot be written take the events with them, and the command can be sent again', async () => {
    await using bank = await make();
    const accounts = bank.accounts();
    const opened = await accounts.handle('ada', { kind: 'open', owner: 'Ada' });
    await expect(
      accounts.handle('ada', { kind: 'deposit', cents: poison }, { key: 'k' }),
    ).rejects.toThrow('thirteen');
    expect(await bank.events.version('account-ada')).toBe(1);
    expect(await bank.balances()).toEqual([[1, 0]]);
    // Nothing of it was kept: the same key is free for what the sender means.
    const done = await accounts.handle('ada', { kind: 'deposit', cents: 14 }, { key: 'k' });
    expect(done).toMatchObject({ version: 2, repeated: false });
    expect(await bank.balances()).toEqual([
      [1, 0],
      [2, 14],
    ]);
    const positionOf = (evidence: typeof done.evidence): number =>
      evidence.get('bank')?.[0]?.offset ?? 0;
    expect(positionOf(done.evidence)).toBeGreaterThan(positionOf(opened.evidence));
    expect(positionOf(done.evidence)).toBe(await bank.events.head());
  }, 30_000);

  test('are not written where nothing was decided', async () => {
    await using bank = await make();
    const accounts = bank.accounts();
    await accounts.handle('ada', { kind: 'open', owner: 'Ada' });
    await accounts.handle('ada', { kind: 'open', owner: 'Ada' });
    await expect(accounts.handle('ada', { kind: 'withdraw', cents: 1 })).rejects.toMatchObject({
      code: 'COMMAND_REFUSED',
    });
    expect(await bank.balances()).toEqual([[1, 0]]);
  }, 30_000);
});
