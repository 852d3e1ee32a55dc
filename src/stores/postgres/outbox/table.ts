import { TallyError } from '../../../core/errors.ts';
import { checkDuration, checkNumber, checkOptions, checkString } from '../../../core/options.ts';
import { identifier, literal } from '../database.ts';

const TABLE_DEFAULT = 'outbox';
/** Rows that one statement of {@link pruneOutbox} deletes: short transactions, which hold nobody up. */
const PRUNE_ROWS = 5_000;

/** Which table is the outbox, and how it is read. */
export interface OutboxOptions {
  /** `outbox` if not given; a schema may stand before it, with a dot. */
  readonly table?: string;
  /**
   * `log` (default): from the WAL, like any table. `outbox`: by its own sequence, for servers without logical
   * replication; adds the columns `xact` and `seq`, which applications leave alone.
   */
  readonly capture?: 'log' | 'outbox';
}

/** What may run a statement: a `pg` Pool or Client, or anything with the same method. */
export interface StatementRunner {
  query(text: string): Promise<unknown>;
}

/**
 * The statements that make an outbox, for a migration tool of your own; they can be run again. An application then
 * places a message with one INSERT of `topic`, `key` and `payload` in the transaction of the facts that it tells of:
 *
 * - `id` (uuid): names the message for good; made by the server unless the application gives one;
 * - `topic`, `key` (text): what it is about, and within which key the order counts;
 * - `payload`, `headers` (jsonb);
 * - `created_at` (timestamptz): when its transaction began. For people and for pruning, never for order;
 * - `ord` (bigint): counts the INSERTs. Of two messages of which one was placed after the other had been committed, the
 *   later has the greater one; of two that were placed side by side it says nothing.
 *
 * Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION.
 */
export function outboxSql(options: OutboxOptions = {}): string {
  checkOptions(options, ['table', 'capture'], 'outbox');
  const { capture = 'log' } = options;
  if (capture !== 'log' && capture !== 'outbox')
    throw new TallyError('CONFIG_INVALID', {
      what: `'${String(capture)}' is not a way to capture`,
      where: 'outbox.capture',
      mend: "write 'log' or 'outbox'",
    });
  const { sql, plain } = outboxName(options.table);
  return `CREATE TABLE IF NOT EXISTS ${sql} (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  topic text NOT NULL,
  key text NOT NULL,
  payload jsonb NOT NULL,
  headers jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  ord bigint GENERATED ALWAYS AS IDENTITY
);
ALTER TABLE ${sql} REPLICA IDENTITY FULL;
CREATE INDEX IF NOT EXISTS ${identifier(`${plain}_created_at`.slice(0, 63))} ON ${sql} (created_at);
${capture === 'outbox' ? sequenceSql(sql, plain) : ''}`;
}

/**
 * - `xact`: the transaction, which is numbered as a whole.
 * - `seq`: its place for good, without gaps; allotted after the commit.
 */
function sequenceSql(sql: string, plain: string): string {
  const index = (name: string): string => identifier(`${plain.slice(0, 63 - name.length)}${name}`);
  return `ALTER TABLE ${sql} ADD COLUMN IF NOT EXISTS xact xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE ${sql} ADD COLUMN IF NOT EXISTS seq bigint;
CREATE UNIQUE INDEX IF NOT EXISTS ${index('_seq')} ON ${sql} (seq) WHERE seq IS NOT NULL;
CREATE INDEX IF NOT EXISTS ${index('_fresh')} ON ${sql} (ord) WHERE seq IS NULL;
CREATE INDEX IF NOT EXISTS ${index('_fresh_xact')} ON ${sql} (xact, ord) WHERE seq IS NULL;
`;
}

/**
 * Runs {@link outboxSql}, safely beside others that do. Needs the right to create tables in the schema. Throws
 * CONFIG_INVALID, and whatever the client throws.
 */
export async function createOutbox(
  client: StatementRunner,
  options: OutboxOptions = {},
): Promise<void> {
  const sql = outboxSql(options);
  // One message is one transaction. The lock: concurrent CREATE TABLE fails in spite of IF NOT EXISTS.
  await client.query(
    `SELECT pg_advisory_xact_lock(hashtextextended(${literal(`tallystick outbox ${options.table ?? TABLE_DEFAULT}`)}, 0));\n${sql}`,
  );
}

/** What {@link pruneOutbox} removes. */
export interface PruneOptions extends OutboxOptions {
  /** Messages that are older stay no longer: milliseconds, or text such as `'7d'`. */
  readonly keep: number | string;
  /** The most that one call removes. Default: everything that is old enough. */
  readonly rowsMax?: number;
}

/**
 * Deletes old messages, some thousand in a transaction, and returns how many. Safe at any time once the flow has
 * taken its first snapshot: from then on messages are captured from the WAL and not from the table, so that one is
 * delivered even if it was deleted in the transaction that placed it. Not for an outbox that is read by its own
 * sequence (`capture: 'outbox'`), which keeps and prunes by itself. Throws CONFIG_INVALID.
 */
export async function pruneOutbox(client: StatementRunner, options: PruneOptions): Promise<number> {
  checkOptions(options, ['table', 'keep', 'rowsMax'], 'pruneOutbox');
  const { sql } = outboxName(options.table);
  const keepMs = checkDuration(options.keep, 'pruneOutbox.keep');
  const { rowsMax = Infinity } = options;
  if (rowsMax !== Infinity) checkNumber(rowsMax, 'pruneOutbox.rowsMax', { min: 1, integer: true });
  let pruned = 0;
  while (pruned < rowsMax) {
    const limit = Math.min(PRUNE_ROWS, rowsMax - pruned);
    const result = (await client.query(
      `DELETE FROM ${sql} WHERE id IN (SELECT id FROM ${sql}
         WHERE created_at < now() - interval '1 millisecond' * ${keepMs}
         ORDER BY created_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)`,
    )) as { readonly rowCount?: number | null };
    const count = result.rowCount ?? 0;
    pruned += count;
    if (count < limit) break;
  }
  return pruned;
}

/** The table as SQL and its name without the schema. Throws CONFIG_INVALID. */
export function outboxName(table: string = TABLE_DEFAULT): {
  readonly sql: string;
  readonly plain: string;
} {
  const parts = checkString(table, 'outbox.table').split('.');
  const plain = parts.at(-1) ?? '';
  if (parts.length > 2 || parts.some((part) => !/^[A-Za-z_][\w$]{0,62}$/.test(part)))
    throw new TallyError('CONFIG_INVALID', {
      what: `${JSON.stringify(table.slice(0, 130))} cannot be the name of an outbox`,
      where: 'outbox.table',
      mend: 'use letters, digits and _, at most 63 of them; a schema may stand before it, with a dot',
    });
  return { sql: parts.map(identifier).join('.'), plain };
}
