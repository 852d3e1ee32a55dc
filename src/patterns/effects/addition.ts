import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import type { EntryUndo, EntryWork } from './entry-effects.ts';
import {
  onPostgres,
  onSqlite,
  type PostgresLike,
  quoted,
  type SqliteLike,
  type SqlValue,
  type Statement,
} from './sql.ts';

/** Between what a number has to stay, the bounds included. */
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

/** A plus or a minus, whole: fractions do not add up to the same in every order. Money is counted in its smallest unit. */
export interface Addition extends Bounds {
  readonly by: number;
}

/** A script of Redis with its keys and arguments, as the effects of that store take it. */
export interface LuaWork {
  readonly lua: string;
  readonly keys: readonly [string, ...string[]];
  readonly args: readonly string[];
}

/** A number in a column of one row. */
export interface ColumnAddition extends Addition {
  /** `items`, or with its schema `shop.items`. */
  readonly table: string;
  readonly column: string;
  /** The columns that name the row, and their values. */
  readonly where: Readonly<Record<string, string | number | bigint>>;
}

/** A work on a column for `effects.do`, and its undo for `effects.undo`; each for the store that it is named after. */
export interface ColumnWork {
  readonly sqlite: (tx: SqliteLike) => Value;
  readonly postgres: (tx: PostgresLike) => Promise<Value>;
  readonly undo: {
    readonly sqlite: (tx: SqliteLike) => void;
    readonly postgres: (tx: PostgresLike) => Promise<void>;
  };
}

/**
 * Adds to a column within bounds, and takes the same away again: in whatever order several sagas do either, the number is
 * in the end the sum of what stands. The result is the number after it. The work throws STEP_REFUSED where the bounds do not
 * allow it or there is no such row, by which a saga goes back; the undo is not bounded, and finds nothing to do where the
 * row is gone. Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 */
export function columnAddition(addition: ColumnAddition): ColumnWork {
  checkOptions(addition, ['by', 'min', 'max', 'table', 'column', 'where'], 'columnAddition');
  checkAddition(addition, 'columnAddition');
  const { table, column, by } = addition;
  const forward = statement(addition);
  const { min: _min, max: _max, ...unbounded } = addition;
  const back = statement({ ...unbounded, by: -by });
  const answer = (row: Record<string, unknown> | undefined): Value => {
    if (row === undefined) throw refused(`${table}.${column}`, addition);
    return Number(row['number']);
  };
  return {
    sqlite: (tx) => answer(onSqlite(tx, forward)),
    postgres: async (tx) => answer(await onPostgres(tx, forward)),
    undo: {
      sqlite: (tx) => void onSqlite(tx, back),
      postgres: async (tx) => void (await onPostgres(tx, back)),
    },
  };
}

/** {@link columnAddition} for an entry that holds a number; one that is not there is 0. */
export function entryAddition(
  entry: string,
  addition: Addition,
): { readonly work: EntryWork; readonly undo: EntryUndo } {
  checkOptions(addition, ['by', 'min', 'max'], 'entryAddition');
  checkAddition(addition, 'entryAddition');
  const { by, min = -Infinity, max = Infinity } = addition;
  return {
    work: {
      entry,
      change: (value) => {
        const number = Number(value ?? 0) + by;
        if (number < min || number > max) throw refused(`entry ${entry.slice(0, 80)}`, addition);
        return { value: number, result: number };
      },
    },
    undo: { entry, change: (value) => Number(value ?? 0) - by },
  };
}

/** {@link columnAddition} for a key of Redis that holds a number. The work refuses with WRITE_REFUSED, reason `bounds`. */
export function redisAddition(
  key: string,
  addition: Addition,
): { readonly work: LuaWork; readonly undo: LuaWork } {
  checkOptions(addition, ['by', 'min', 'max'], 'redisAddition');
  checkAddition(addition, 'redisAddition');
  const { by, min, max } = addition;
  const keys: readonly [string] = [key];
  return {
    work: {
      lua: `local n = tonumber(redis.call('GET', KEYS[1]) or '0') + tonumber(ARGV[1])
if (ARGV[2] ~= '' and n < tonumber(ARGV[2])) or (ARGV[3] ~= '' and n > tonumber(ARGV[3])) then return nil, 'bounds' end
return cjson.encode(redis.call('INCRBY', KEYS[1], ARGV[1]))`,
      keys,
      args: [String(by), String(min ?? ''), String(max ?? '')],
    },
    undo: { lua: `redis.call('DECRBY', KEYS[1], ARGV[1])`, keys, args: [String(by)] },
  };
}

function checkAddition({ by, min, max }: Addition, path: string): void {
  checkNumber(by, `${path}.by`, { integer: true });
  if (min !== undefined) checkNumber(min, `${path}.min`, { integer: true });
  if (max !== undefined) checkNumber(max, `${path}.max`, { integer: true, min: min ?? -Infinity });
}

function statement({ table, column, where, by, min, max }: ColumnAddition): Statement {
  const name = quoted(column, 'columnAddition.column');
  const values: SqlValue[] = [by];
  const conditions = Object.entries(where).map(
    ([key, value]) => `${quoted(key, 'columnAddition.where')} = @${values.push(value)}`,
  );
  if (conditions.length === 0)
    throw new TallyError('CONFIG_INVALID', {
      what: 'an addition to a column names no row',
      where: 'columnAddition.where',
      mend: 'give the columns of its key, and their values',
    });
  if (min !== undefined) conditions.push(`${name} + @1 >= @${values.push(min)}`);
  if (max !== undefined) conditions.push(`${name} + @1 <= @${values.push(max)}`);
  const text = `UPDATE ${quoted(table, 'columnAddition.table')} SET ${name} = ${name} + @1 WHERE ${conditions.join(' AND ')} RETURNING ${name} AS number`;
  return { text: ({ parameter }) => text.replaceAll('@', parameter), values };
}

function refused(where: string, { by, min, max }: Addition): TallyError {
  return new TallyError('STEP_REFUSED', {
    what: `${by} cannot be added: it would leave the bounds, or there is no such row`,
    where,
    details: { by, ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) },
  });
}
