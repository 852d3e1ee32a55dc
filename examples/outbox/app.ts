import { flow, tally, type TallyApp } from 'tallystick';
import { inbox, outboxMessages, postgres, type PostgresStore } from 'tallystick/postgres';
import type { StoreDefinition } from 'tallystick';

/** The two services of the example. */
export type OutboxStores = {
  readonly orders: StoreDefinition<PostgresStore>;
  readonly billing: StoreDefinition<PostgresStore>;
};

/**
 * The order service places messages in its outbox; billing finds each of them once in its inbox. Where the server of
 * the orders has no logical replication, one line is another: `postgres({ url, capture: 'outbox' })`.
 */
export function outboxApp(urls: {
  readonly orders: string;
  readonly billing: string;
  readonly dir: string;
}): TallyApp<OutboxStores> {
  return tally({
    name: 'outbox',
    dir: urls.dir,
    stores: {
      orders: postgres({ url: urls.orders }),
      billing: postgres({ url: urls.billing, targets: { inbox: inbox() } }),
    },
    flows: {
      messages: flow({
        from: 'orders',
        tables: ['outbox'],
        to: 'billing',
        into: 'inbox',
        deletes: 'ignore',
        project: outboxMessages('inbox'),
      }),
    },
  });
}
