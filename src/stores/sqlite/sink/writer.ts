import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { ORDINAL_MAX } from '../../../core/position.ts';
import type { Write } from '../../../core/write.ts';
import type { Layout } from './layout.ts';
import { quote, quoted, type TargetNames } from './names.ts';

// The version of a key is (_fence, _ordinal) of its row or of its tombstone, whichever is newer.
//
// Invariant: a row is always newer than the tombstone of its key. A put therefore needs the
// tombstone only to be refused by it, and leaves it where it is; a delete first removes the older
// row, and leaves its tombstone only if no row is left: a row that is still there is newer. If a
// put did not look, a snapshot row read before a delete would bring the deleted row back to life.
//
// A repair takes the same statements with the comparison that lets equal versions through.

/** The comparison by which a write replaces what is there, and its opposite. */
const NEWER = { stream: ['>', '>='], snapshot: ['>', '>='], repair: ['>=', '>'] } as const;

type Newer = (typeof NEWER)[keyof typeof NEWER];

interface Statements {
  readonly put: StatementSync;
  readonly remove: StatementSync;
  readonly bury: StatementSync;
}

/** Applies single writes to one generation of one target, inside the caller's transaction. */
export class TargetWriter {
  readonly #db: DatabaseSync;
  readonly #layout: Layout;
  readonly #names: TargetNames;
  readonly #strict: Statements;
  #lenient: Statements | undefined;
  // Bound values are gathered in two lists that live as long as the writer: no list per row.
  readonly #putValues: SQLInputValue[];
  readonly #removeValues: SQLInputValue[];

  constructor(db: DatabaseSync, names: TargetNames, layout: Layout) {
    this.#db = db;
    this.#layout = layout;
    this.#names = names;
    this.#strict = this.#prepare(NEWER.stream);
    const keys = layout.key.length;
    this.#putValues = Array.from({ length: keys + layout.values.length + 2 }, () => null);
    this.#removeValues = Array.from({ length: keys + 2 }, () => null);
  }

  /** Whether the write was applied; false if the target holds the same or a newer version. */
  apply(write: Write, fence: bigint, nowMs: number): boolean {
    const statements =
      write.mode === 'repair' ? (this.#lenient ??= this.#prepare(NEWER.repair)) : this.#strict;
    const { codec, key } = this.#layout;
    if (write.row === null) {
      const values = this.#removeValues;
      codec.bindKey(write.key, values);
      values[key.length] = fence;
      values[key.length + 1] = write.ordinal;
      statements.remove.run(...values);
      return statements.bury.run(...values).changes !== 0;
    }
    const values = this.#putValues;
    codec.bindKey(write.key, values);
    codec.bindRow(write.key, write.row, values, key.length, nowMs);
    values[values.length - 2] = fence;
    values[values.length - 1] = write.ordinal;
    return statements.put.run(...values).changes !== 0;
  }

  /** Deletes rows older than `fence`, leaving tombstones at it that refuse what was part of it. */
  sweep(fence: bigint): number {
    const { table, tombstones } = this.#quotedNames();
    const key = quoted(this.#keyNames());
    this.#db
      .prepare(
        `INSERT OR REPLACE INTO ${tombstones} (${key}, _fence, _ordinal) SELECT ${key}, ?, ? FROM ${table} WHERE _fence < ?`,
      )
      .run(fence, ORDINAL_MAX, fence);
    return Number(this.#db.prepare(`DELETE FROM ${table} WHERE _fence < ?`).run(fence).changes);
  }

  /** Forgets tombstones older than `fence`. */
  prune(fence: bigint): number {
    const { tombstones } = this.#quotedNames();
    return Number(
      this.#db.prepare(`DELETE FROM ${tombstones} WHERE _fence < ?`).run(fence).changes,
    );
  }

  #prepare([newer, notOlder]: Newer): Statements {
    const { table, tombstones } = this.#quotedNames();
    const keys = this.#keyNames();
    const values = this.#layout.values.map(({ name }) => name);
    const key = quoted(keys);
    const same = keys.map((name, index) => `${quote(name)} = ?${index + 1}`).join(' AND ');
    const columns = [...keys, ...values, '_fence', '_ordinal'];
    const set = [...values, '_fence', '_ordinal']
      .map((name) => `${quote(name)} = excluded.${quote(name)}`)
      .join(', ');
    const slots = (count: number): string =>
      Array.from({ length: count }, (_, index) => `?${index + 1}`).join(', ');
    const version = (count: number): string => `(?${count - 1}, ?${count})`;
    const short = keys.length + 2;
    const put = `INSERT INTO ${table} (${quoted(columns)}) SELECT ${slots(columns.length)}
      WHERE NOT EXISTS (SELECT 1 FROM ${tombstones} WHERE ${same} AND (_fence, _ordinal) ${notOlder} ${version(columns.length)})
      ON CONFLICT (${key}) DO UPDATE SET ${set}
      WHERE (excluded._fence, excluded._ordinal) ${newer} (${table}._fence, ${table}._ordinal)`;
    const remove = `DELETE FROM ${table} WHERE ${same} AND ${version(short)} ${newer} (_fence, _ordinal)`;
    const bury = `INSERT INTO ${tombstones} (${key}, _fence, _ordinal) SELECT ${slots(short)}
      WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE ${same})
      ON CONFLICT (${key}) DO UPDATE SET _fence = excluded._fence, _ordinal = excluded._ordinal
      WHERE (excluded._fence, excluded._ordinal) ${newer} (${tombstones}._fence, ${tombstones}._ordinal)`;
    return {
      put: this.#db.prepare(put),
      remove: this.#db.prepare(remove),
      bury: this.#db.prepare(bury),
    };
  }

  #keyNames(): readonly string[] {
    return this.#layout.key.map(({ name }) => name);
  }

  #quotedNames(): { readonly table: string; readonly tombstones: string } {
    return { table: quote(this.#names.table), tombstones: quote(this.#names.tombstones) };
  }
}
