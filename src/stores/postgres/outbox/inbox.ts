import type { Change } from '../../../core/change.ts';
import type { Key, Row } from '../../../core/row.ts';
import { table, type TableTarget } from '../sink/targets.ts';

/** What {@link outboxMessages} puts. */
export interface InboxPut {
  readonly target: string;
  readonly key: Key;
  readonly row: Row;
}

/** A message as it stands in the outbox and in the inbox. */
export interface OutboxMessage {
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  readonly payload: Row[string];
  readonly headers: Row[string];
  readonly created_at: string;
  readonly ord: number | bigint;
}

/**
 * The target of a flow from an outbox: one row for each message, under its id. The sink writes it once in effect,
 * with the flow's checkpoint in the same transaction. `ORDER BY _fence, _ordinal, ord` is the order to handle them in:
 * that of the commits; of messages that a snapshot brought, whose place in the WAL nobody knows any more, it is the one
 * that `ord` can tell. Handle messages in transactions of your own that also note the id in a table of yours: the rows
 * here belong to the flow.
 */
export function inbox(): TableTarget {
  return table({
    key: ['id'],
    columns: {
      id: 'uuid',
      topic: 'text NOT NULL',
      key: 'text NOT NULL',
      // Where a document is the JSON null, rows hold a plain NULL.
      payload: 'jsonb',
      headers: 'jsonb',
      created_at: 'timestamptz NOT NULL',
      ord: 'bigint NOT NULL',
    },
  });
}

/**
 * The message that a change of an outbox tells of, or undefined: a message is told once, by the INSERT of its row.
 * That the row is deleted later (or in the same transaction), because it was pruned, takes nothing back. To be asked
 * in a row projection, with both its arguments.
 */
export function outboxMessage(row: Row, change: Change): OutboxMessage | undefined {
  // A projection is asked for the row before a change too, and what it puts for that one alone is deleted.
  if (change.operation === 'delete' || row === change.before) return undefined;
  const { id, topic, key, payload, headers, created_at, ord } = row as unknown as OutboxMessage;
  return { id, topic, key, payload, headers, created_at, ord };
}

/**
 * The row projection from an outbox into an {@link inbox}, of these topics only if any are given. `into` is the name
 * of the target.
 *
 * @example flow({ from: 'orders', tables: ['outbox'], to: 'billing', into: 'inbox', deletes: 'ignore', project: outboxMessages() })
 */
export function outboxMessages(
  into = 'inbox',
  topics?: readonly string[],
): (row: Row, change: Change) => InboxPut | undefined {
  return (row, change) => {
    const message = outboxMessage(row, change);
    if (message === undefined || topics?.includes(message.topic) === false) return undefined;
    return { target: into, key: [message.id], row: { ...message } };
  };
}
