import { encodeValue } from '../../core/codec.ts';
import { isTallyError, TallyError } from '../../core/errors.ts';
import type { Write } from '../../core/write.ts';
import type { FailedWrite } from '../../ports/sink.ts';
import type { DuckdbAppender, DuckdbDriver } from './driver.ts';
import type { Layout } from './layout.ts';

/** Rows that DuckDB takes at once. */
const CHUNK_ROWS = 2_048;
/** A chunk is handed over earlier if its texts reach this: ten-megabyte rows come one by one. */
const CHUNK_CHARACTERS = 8 * 2 ** 20;

/** What a {@link Loader} loads into. */
export type LoaderInto = 'stage' | 'table';

/** Encodes writes column by column and hands them to an appender in chunks. */
export class Loader {
  readonly #driver: DuckdbDriver;
  readonly #appender: DuckdbAppender;
  readonly #layout: Layout;
  readonly #into: LoaderInto;
  readonly #rowBytesMax: number;
  readonly #types: readonly never[];
  readonly #width: number;
  readonly #row: unknown[] = [];
  #columns: unknown[][] = [];
  #characters = 0;
  /** Rows loaded so far. */
  count = 0;

  constructor(
    driver: DuckdbDriver,
    appender: DuckdbAppender,
    layout: Layout,
    into: LoaderInto,
    rowBytesMax: number,
  ) {
    this.#driver = driver;
    this.#appender = appender;
    this.#layout = layout;
    this.#into = into;
    this.#rowBytesMax = rowBytesMax;
    this.#types = Array.from({ length: appender.columnCount }, (_, index) =>
      appender.columnType(index),
    ) as never[];
    this.#width = layout.columns.length;
    this.#columns = this.#types.map(() => []);
  }

  /** Adds a write; returns its failure if it cannot be carried, and then adds nothing. */
  add(write: Write, index: number, fence: bigint): FailedWrite | undefined {
    const row = this.#row;
    try {
      this.#layout.encode(write, row);
      this.#characters += this.#checkSize(write, row);
    } catch (error) {
      if (isTallyError(error)) return { index, error };
      throw error;
    }
    const columns = this.#columns;
    const width = this.#width;
    for (let at = 0; at < width; at++) columns[at]?.push(row[at]);
    columns[width]?.push(fence);
    columns[width + 1]?.push(write.ordinal);
    columns[width + 2]?.push(write.row === null);
    if (this.#into === 'stage') {
      columns[width + 3]?.push(write.mode === 'repair');
      columns[width + 4]?.push(index);
    }
    this.count += 1;
    if (columns[width]?.length === CHUNK_ROWS || this.#characters >= CHUNK_CHARACTERS)
      this.#flush();
    return undefined;
  }

  /** Hands over what is left, so that statements of the same transaction see it. */
  finish(): void {
    this.#flush();
    this.close();
  }

  close(): void {
    this.#appender.closeSync();
  }

  #flush(): void {
    if (this.#columns[this.#width]?.length === 0) return;
    const chunk = this.#driver.DuckDBDataChunk.create(this.#types, CHUNK_ROWS);
    chunk.setColumns(this.#columns);
    this.#appender.appendDataChunk(chunk);
    if (this.#characters >= CHUNK_CHARACTERS) this.#appender.flushSync();
    this.#columns = this.#types.map(() => []);
    this.#characters = 0;
  }

  /** The characters of a row; throws ROW_TOO_LARGE. Its canonical text is made only if it may be too long. */
  #checkSize(write: Write, row: readonly unknown[]): number {
    let characters = 0;
    for (let at = 0; at < this.#width; at++) {
      const value = row[at];
      if (typeof value === 'string') characters += value.length;
      else if (typeof value === 'object' && value !== null)
        characters += (value as { readonly bytes: Uint8Array }).bytes.length;
    }
    // Six bytes of canonical text per character at most (\u0000), names and numbers left out.
    if (characters * 6 < this.#rowBytesMax / 2 || write.row === null) return characters;
    const bytes = Buffer.byteLength(encodeValue(write.row));
    if (bytes <= this.#rowBytesMax) return characters;
    throw new TallyError('ROW_TOO_LARGE', {
      what: `a row of ${bytes} bytes is over the limit of ${this.#rowBytesMax}`,
      where: write.target,
      mend: 'project less into it, or keep large parts as objects',
      details: { bytes },
    });
  }
}
