import type { OpenBank } from './app.ts';

// The auditor shares nothing with the flows but the events: it adds up by itself what each read model should hold.

interface Truth {
  readonly accounts: Map<string, { status: string; owner: string; cents: number; version: number }>;
  readonly payments: Map<string, { times: number; cents: number }>;
  movements: number;
  /** Paid in, less what was paid out: what there is in the bank, on accounts or on its way. */
  money: number;
  onItsWay: number;
}

/** What is wrong with the read models of a bank that stands still; nothing if they are what the events say. */
export async function audit(bank: OpenBank): Promise<readonly string[]> {
  const truth = await addedUp(bank);
  const after = await bank.evidenceAt('bank', await bank.stores.bank.events.head());
  const wrong: string[] = [];
  const compare = (what: string, found: unknown, wanted: unknown): void => {
    if (JSON.stringify(found) !== JSON.stringify(wanted))
      wrong.push(
        `${what}: found ${JSON.stringify(found)}, and the events say ${JSON.stringify(wanted)}`,
      );
  };
  const options = { after, within: '20s' } as const;
  const names = [...truth.accounts].toSorted(([left], [right]) => (left < right ? -1 : 1));

  await bank.read('views', options, (db) => {
    const rows = db
      .prepare('SELECT account, status, owner, cents, version FROM balances ORDER BY account')
      .all();
    compare(
      'balances',
      rows,
      names.map(([account, row]) => ({ account, ...row })),
    );
  });
  await bank.read('search', options, async (_db, { query }) => {
    for (const [account, { owner, status }] of names) {
      const hits = await query.search('names', owner, { limit: 1_000 });
      compare(
        `name of ${account}`,
        hits.some(({ key }) => key[0] === account),
        status === 'open',
      );
    }
  });
  await bank.read('graph', options, async (_db, { query }) => {
    for (const [name, payment] of truth.payments) {
      const [from = '', to = ''] = JSON.parse(name) as readonly string[];
      const row = await query.get('payments', [from, to]);
      compare(`payments ${name}`, { times: row?.['times'], cents: row?.['cents'] }, payment);
    }
  });
  await bank.read('reports', options, async (connection) => {
    const sums = await connection.runAndReadAll(
      'SELECT count(*)::DOUBLE, coalesce(sum(cents), 0)::DOUBLE FROM movements',
    );
    const onAccounts = truth.money - truth.onItsWay;
    compare('movements', (sums.getRows()[0] ?? []).map(Number), [truth.movements, onAccounts]);
  });
  const onAccounts = names.reduce((sum, [, { cents }]) => sum + cents, 0);
  compare('money on accounts and on its way', onAccounts + truth.onItsWay, truth.money);
  return wrong;
}

async function addedUp(bank: OpenBank): Promise<Truth> {
  const truth: Truth = {
    accounts: new Map(),
    payments: new Map(),
    movements: 0,
    money: 0,
    onItsWay: 0,
  };
  for await (const page of bank.stores.bank.events.readAll())
    for (const { stream, version, type, data } of page.events) {
      const id = stream.slice('account-'.length);
      const { cents = 0, owner, from } = data as { cents?: number; owner?: string; from?: string };
      const before = truth.accounts.get(id) ?? { status: 'none', owner: '', cents: 0, version: 0 };
      const signed = {
        deposited: cents,
        received: cents,
        'took-back': cents,
        withdrawn: -cents,
        'paid-out': -cents,
        sent: -cents,
      }[type];
      const status = type === 'opened' ? 'open' : type === 'closed' ? 'closed' : before.status;
      const after = {
        status,
        owner: owner ?? before.owner,
        cents: before.cents + (signed ?? 0),
        version,
      };
      if (status !== 'none') truth.accounts.set(id, after);
      if (signed !== undefined) truth.movements += 1;
      if (type === 'deposited') truth.money += cents;
      if (type === 'withdrawn' || type === 'paid-out') truth.money -= cents;
      if (type === 'sent') truth.onItsWay += cents;
      if (type === 'received' || type === 'took-back') truth.onItsWay -= cents;
      if (type === 'received') {
        const name = JSON.stringify([from, id]);
        const known = truth.payments.get(name) ?? { times: 0, cents: 0 };
        truth.payments.set(name, { times: known.times + 1, cents: known.cents + cents });
      }
    }
  return truth;
}
