import { entryEffects, probed, resultOf, settled } from 'tallystick/effects';
import { refused } from 'tallystick/saga';
import type { SqliteStore } from 'tallystick/sqlite';
import { CUSTOMERS, WALLET, type Participant } from '../order.ts';

/** What the entry of a customer holds. */
interface Account {
  readonly wallet: number;
  /** By order. */
  readonly paid: Readonly<Record<string, number>>;
}

const effectsOf = ({ keyValue }: SqliteStore) =>
  entryEffects(keyValue, { clock: { nowMs: Date.now } });

/** Gives each customer of a new shop a wallet: itself an effect, so that it is given once. */
export async function prepareAccounts(store: SqliteStore): Promise<void> {
  const effects = effectsOf(store);
  const startedAtMs = Date.now();
  for (const entry of CUSTOMERS)
    if ((await effects.get(entry)) === undefined)
      await effects.do(
        { id: `wallet/${entry}`, startedAtMs },
        { entry, change: () => ({ value: { wallet: WALLET, paid: {} } }) },
      );
}

/** Accounts as key-value entries: one conditional write changes the account, with its markers in it. */
export function paymentsInEntries(store: SqliteStore): Participant {
  const effects = effectsOf(store);
  return {
    do: async (key, { id, customer, total }) =>
      resultOf(
        await effects.do(key, {
          entry: customer,
          change: (value) => {
            const { wallet, paid } = value as unknown as Account;
            if (wallet < total) throw refused(`${customer} has not enough money`);
            const account = {
              wallet: wallet - total,
              paid: { ...paid, [id]: (paid[id] ?? 0) + total },
            };
            return { value: account, result: { wallet: account.wallet } };
          },
        }),
      ),
    undo: async (key, { id, customer, total }) =>
      settled(
        await effects.undo(key, {
          entry: customer,
          change: (value) => {
            const { wallet, paid } = value as unknown as Account;
            const { [id]: _, ...others } = paid;
            return { wallet: wallet + total, paid: others };
          },
        }),
      ),
    probe: async (key, { customer }) => probed(await effects.probe(key, customer)),
  };
}
