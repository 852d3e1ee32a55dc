import { encodeKey, encodeValue } from '../core/codec.ts';
import { TallyError } from '../core/errors.ts';
import { suggest } from '../core/options.ts';
import type { Key, Row } from '../core/row.ts';
import type { SourceEntry } from '../ports/source.ts';

/** A row that the source has before the flow begins. */
export interface GivenRow {
  readonly table: string;
  readonly key: Key;
  readonly row: Row;
}

/** What a transaction does to one row of the source. */
export interface WrittenRow {
  readonly operation: 'create' | 'update' | 'delete';
  readonly table: string;
  readonly key: Key;
  /** The row after; null for `delete`. */
  readonly after: Row | null;
}

/** A row that is there when the flow begins: it is brought over as a snapshot brings it. */
export function existing(table: string, key: Key, row: Row): GivenRow {
  return { table, key, row };
}

/** The source inserts a row. */
export function created(table: string, key: Key, row: Row): WrittenRow {
  return { operation: 'create', table, key, after: row };
}

/** The source changes a row; what it was before is what the story has written there. A changed key is `deleted` and `created`. */
export function updated(table: string, key: Key, row: Row): WrittenRow {
  return { operation: 'update', table, key, after: row };
}

/** The source deletes a row. */
export function deleted(table: string, key: Key): WrittenRow {
  return { operation: 'delete', table, key, after: null };
}

/** The rows of the imagined source, so that each change carries the row before it, as a real one does. */
export class SourceRows {
  readonly #tables: readonly string[];
  readonly #rows = new Map<string, string>();

  constructor(tables: readonly string[]) {
    this.#tables = tables;
  }

  /** Throws CONFIG_INVALID for a table that the flow does not read, or a row that is there already. */
  add({ table, key, row }: GivenRow): void {
    this.#write({ operation: 'create', table, key, after: row });
  }

  /** The change of one row at a place. Throws CONFIG_INVALID for what the source could not have done. */
  entry(written: WrittenRow, offset: number, ordinal: number): SourceEntry {
    const { operation, table, key, after } = written;
    return {
      kind: 'change',
      offset,
      ordinal,
      table,
      operation,
      key: encodeKey(key),
      before: this.#write(written),
      after: after === null ? null : encodeValue(after),
    };
  }

  /** Returns the row before, as text. */
  #write({ operation, table, key, after }: WrittenRow): string | null {
    if (!this.#tables.includes(table)) {
      const near = suggest(table, this.#tables);
      throw new TallyError('CONFIG_INVALID', {
        what: `the flow does not read a table ${JSON.stringify(table)}`,
        mend: near === undefined ? `use ${this.#tables.join(', ')}` : `did you mean ${near}?`,
      });
    }
    const name = `${table} ${encodeKey(key)}`;
    const before = this.#rows.get(name);
    if ((before === undefined) !== (operation === 'create'))
      throw new TallyError('CONFIG_INVALID', {
        what:
          before === undefined
            ? `there is no row ${name} to ${operation}`
            : `there is a row ${name} already`,
        mend: 'write the story as the source would: existing or created, then updated, then deleted',
      });
    if (after === null) this.#rows.delete(name);
    else this.#rows.set(name, encodeValue(after));
    return before ?? null;
  }
}
