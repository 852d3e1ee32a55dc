import { encodeValue } from '../../core/codec.ts';
import { TallyError } from '../../core/errors.ts';
import { checkOptions } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import type { EntryChange, EntryWork } from './entry-effects.ts';
import {
  onPostgres,
  onSqlite,
  type PostgresLike,
  quoted,
  type SqliteLike,
  type SqlValue,
  type Statement,
} from './sql.ts';

/** A row that is changed only while it still is what a decision was made on. */
export interface RowUnchanged {
  /** `offers`, or with its schema `shop.offers`. */
  readonly table: string;
  /** The columns that name the row, and their values. */
  readonly where: Readonly<Record<string, string | number | bigint>>;
  /** What the decision depends on, as it was read; not the whole row, else every other change is a conflict. */
  readonly seen: Readonly<Record<string, SqlValue>>;
  readonly set: Readonly<Record<string, SqlValue>>;
}

/** A work for `effects.do`, for the store that it is named after. */
export interface RereadWork {
  readonly sqlite: (tx: SqliteLike) => null;
  readonly postgres: (tx: PostgresLike) => Promise<null>;
}

/**
 * Changes a row if it still shows what was seen, in one statement: nothing can come between the look and the change. Throws
 * STEP_REFUSED else, by which a saga goes back: what was decided has to be decided anew. Its undo is another one of these.
 * Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 */
export function ifRowUnchanged(given: RowUnchanged): RereadWork {
  checkOptions(given, ['table', 'where', 'seen', 'set'], 'ifRowUnchanged');
  const update = statement(given);
  const answer = (row: Record<string, unknown> | undefined): null => {
    if (row === undefined) throw changed(given.table);
    return null;
  };
  return {
    sqlite: (tx) => answer(onSqlite(tx, update)),
    postgres: async (tx) => answer(await onPostgres(tx, update)),
  };
}

/** {@link ifRowUnchanged} for an entry: `change` is asked only if the value is the one that was seen. */
export function ifEntryUnchanged(
  entry: string,
  seen: Value | undefined,
  change: (value: Value | undefined) => EntryChange,
): EntryWork {
  const text = textOf(seen);
  return {
    entry,
    change: (value) => {
      if (textOf(value) !== text) throw changed(`entry ${entry.slice(0, 80)}`);
      return change(value);
    },
  };
}

function textOf(value: Value | undefined): string {
  return value === undefined ? '' : encodeValue(value);
}

function statement({ table, where, seen, set }: RowUnchanged): Statement {
  const values: SqlValue[] = [];
  const assignments = Object.entries(set).map(
    ([column, value]) => `${quoted(column, 'ifRowUnchanged.set')} = @${values.push(value)}`,
  );
  const keys = Object.entries(where).map(
    ([column, value]) => `${quoted(column, 'ifRowUnchanged.where')} = @${values.push(value)}`,
  );
  const looks = Object.entries(seen).map(
    ([column, value]) => `${quoted(column, 'ifRowUnchanged.seen')} ~ @${values.push(value)}`,
  );
  for (const [name, list] of Object.entries({ set: assignments, where: keys, seen: looks }))
    if (list.length === 0)
      throw new TallyError('CONFIG_INVALID', {
        what: `ifRowUnchanged.${name} names no column`,
        where: `ifRowUnchanged.${name}`,
        mend: 'name what is set, which row it is, and what the decision depends on',
      });
  const text = `UPDATE ${quoted(table, 'ifRowUnchanged.table')} SET ${assignments.join(', ')} WHERE ${[...keys, ...looks].join(' AND ')} RETURNING 1 AS number`;
  return {
    text: ({ parameter, same }) => text.replaceAll('@', parameter).replaceAll('~', same),
    values,
  };
}

function changed(where: string): TallyError {
  return new TallyError('STEP_REFUSED', {
    what: 'it is not any more what the decision was made on',
    where,
    mend: 'read it again, and decide anew',
  });
}
