import { fenceHalves } from '../../../core/fence.ts';
import type { Write } from '../../../core/write.ts';
import { identifier } from '../database.ts';
import { CellsParam, FencesParam, OrdinalsParam, type Cell } from './array-param.ts';
import type { Layout, RowCodec, SentColumn } from './layout.ts';
import { quoted, type TargetNames } from './names.ts';

// The version of a key is (_fence, _ordinal) of its row or of its tombstone, whichever is newer.
//
// Invariant: a row is always newer than the tombstone of its key. A put therefore needs the tombstone only to be
// refused by it, and leaves it where it is; a delete removes the older row, and leaves its tombstone only if no row
// is left: a row that is still there is newer. If a put did not look, a snapshot row read before a delete would
// bring the deleted row back to life.
//
// A repair takes the same statements with the comparison that lets equal versions through.

/** What a write does to its target; writes of one variant share a statement. */
export type Variant = 'remove' | 'repairRemove' | 'put' | 'repairPut';

/** Deletes before puts: a row may take the unique value of one that goes in the same batch. */
export const variants: readonly Variant[] = ['remove', 'repairRemove', 'put', 'repairPut'];

export function variantOf({ row, mode }: Write): Variant {
  if (row === null) return mode === 'repair' ? 'repairRemove' : 'remove';
  return mode === 'repair' ? 'repairPut' : 'put';
}

/** A statement with what is bound to it. */
export interface Bound {
  readonly text: string;
  readonly values: readonly Uint8Array[];
}

/** Turns writes to one generation of one target into statements, each for as many rows as were added. */
export class TargetWriter {
  readonly names: TargetNames;
  readonly #codec: RowCodec;
  readonly #keys: readonly SentColumn[];
  readonly #texts = new Map<string, string>();
  readonly #params: readonly CellsParam[];
  readonly #fences = new FencesParam();
  readonly #ordinals = new OrdinalsParam();
  // One list as long as the writer lives: none per row.
  readonly #cells: Cell[] = [];
  // Neighbouring writes mostly share a position: its fence is packed once.
  #epoch = -1;
  #offset = -1;
  #fence: readonly [number, number] = [0, 0];

  constructor(names: TargetNames, layout: Layout, codec: RowCodec) {
    this.names = names;
    this.#codec = codec;
    this.#keys = codec.sent.slice(0, layout.key.length);
    this.#params = codec.sent.map(({ bytes }) => new CellsParam(bytes ? 'bytea' : 'text'));
  }

  /** The names of the key columns, quoted. */
  get key(): string {
    return quoted(this.#keys.map(({ name }) => name));
  }

  /** What the statement to come will send, in bytes. */
  get bytes(): number {
    return this.#params.reduce((sum, param) => sum + param.bytes, 0);
  }

  /** Adds a write to the statement to come. Throws what the write is refused with, and is then as before. */
  add(write: Write, nowMs: number): void {
    const cells = this.#cells;
    const { key, row, epoch, offset } = write;
    if (epoch !== this.#epoch || offset !== this.#offset) {
      this.#fence = fenceHalves(write);
      this.#epoch = epoch;
      this.#offset = offset;
    }
    this.#codec.bindKey(key, cells);
    if (row !== null) this.#codec.bindRow(key, row, cells, nowMs);
    const count = row === null ? this.#keys.length : this.#params.length;
    for (let index = 0; index < count; index++) this.#params[index]?.push(cells[index] ?? null);
    this.#fences.push(this.#fence[0], this.#fence[1]);
    this.#ordinals.push(write.ordinal);
  }

  /** The statement for what was added; it holds until {@link TargetWriter.clear}. */
  bound(variant: Variant): Bound {
    const removes = variant === 'remove' || variant === 'repairRemove';
    const params = removes ? this.#params.slice(0, this.#keys.length) : this.#params;
    return {
      text: this.#text(variant),
      values: [...params, this.#fences, this.#ordinals].map((param) => param.finish()),
    };
  }

  clear(): void {
    for (const param of [...this.#params, this.#fences, this.#ordinals]) param.clear();
  }

  /** Deletes rows older than $1, leaving tombstones at ($1, $2) that refuse what was part of it. */
  sweepText(): string {
    const { table, tombstones } = this.names;
    return `WITH gone AS (DELETE FROM ${table} WHERE _fence < $1::bigint RETURNING ${this.key})
      INSERT INTO ${tombstones} (${this.key}, _fence, _ordinal) SELECT ${this.key}, $1::bigint, $2::int FROM gone
      ON CONFLICT (${this.key}) DO UPDATE SET _fence = excluded._fence, _ordinal = excluded._ordinal`;
  }

  /** Forgets tombstones older than $1. */
  pruneText(): string {
    return `DELETE FROM ${this.names.tombstones} WHERE _fence < $1::bigint`;
  }

  #text(variant: Variant): string {
    const known = this.#texts.get(variant);
    if (known !== undefined) return known;
    const text =
      variant === 'put'
        ? this.#put('>', '>=')
        : variant === 'repairPut'
          ? this.#put('>=', '>')
          : variant === 'remove'
            ? this.#remove('>', '>=')
            : this.#remove('>=', '>');
    this.#texts.set(variant, text);
    return text;
  }

  #put(newer: string, notOlder: string): string {
    const { table, tombstones } = this.names;
    const { sent } = this.#codec;
    const columns = `${quoted(sent.map(({ name }) => name))}, _fence, _ordinal`;
    const set = sent
      .slice(this.#keys.length)
      .map(({ name }) => `${identifier(name)} = excluded.${identifier(name)}, `)
      .join('');
    return `INSERT INTO ${table} AS t (${columns}) SELECT * FROM ${given(sent)} AS u
      WHERE NOT EXISTS (SELECT 1 FROM ${tombstones} AS d WHERE ${this.#same('d')} AND (d._fence, d._ordinal) ${notOlder} (u.f, u.o))
      ON CONFLICT (${this.key}) DO UPDATE SET ${set}_fence = excluded._fence, _ordinal = excluded._ordinal
      WHERE (excluded._fence, excluded._ordinal) ${newer} (t._fence, t._ordinal)`;
  }

  /** All parts of the statement see the rows as they were before it: those that it removes are left out by version. */
  #remove(newer: string, notOlder: string): string {
    const { table, tombstones } = this.names;
    const values = [...this.#keys.map((_, index) => `u.c${index}`), 'u.f', 'u.o'].join(', ');
    return `WITH u AS MATERIALIZED (SELECT * FROM ${given(this.#keys)} AS g),
      gone AS (DELETE FROM ${table} AS t USING u WHERE ${this.#same('t')} AND (u.f, u.o) ${newer} (t._fence, t._ordinal))
      INSERT INTO ${tombstones} AS d (${this.key}, _fence, _ordinal) SELECT ${values} FROM u
      WHERE NOT EXISTS (SELECT 1 FROM ${table} AS t WHERE ${this.#same('t')} AND (t._fence, t._ordinal) ${notOlder} (u.f, u.o))
      ON CONFLICT (${this.key}) DO UPDATE SET _fence = excluded._fence, _ordinal = excluded._ordinal
      WHERE (excluded._fence, excluded._ordinal) ${newer} (d._fence, d._ordinal)`;
  }

  #same(alias: string): string {
    return this.#keys
      .map(({ name }, index) => `${alias}.${identifier(name)} = u.c${index}`)
      .join(' AND ');
  }
}

/** The bound arrays as rows, in the types of their columns. */
function given(columns: readonly SentColumn[]): string {
  const at = columns.length;
  const arrays = columns.map(({ bytes }, index) => `$${index + 1}::${bytes ? 'bytea' : 'text'}[]`);
  const names = columns.map((_, index) => `c${index}`);
  const casts = columns.map(({ cast }, index) => `x.c${index}::${cast} AS c${index}`);
  return `(SELECT ${casts.join(', ')}, x.f, x.o FROM unnest(${arrays.join(', ')}, $${at + 1}::bigint[], $${at + 2}::int[])
    AS x(${names.join(', ')}, f, o))`;
}
