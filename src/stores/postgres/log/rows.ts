import type { LogRecord } from '../../../ports/log.ts';
import { RecordReader } from './codec.ts';

/** A row of the table: encoded records from one log offset to another. */
export interface SegmentRow {
  readonly first: number;
  readonly next: number;
  readonly records: Buffer;
}

/** A reader's place in rows that were fetched: what one read leaves is there for the next. */
export class RowCursor {
  readonly #rows: readonly SegmentRow[];
  #row = 0;
  #reader: RecordReader;
  /** The log offset of the next record. */
  next: number;

  /** `rows` join on to each other; the first holds `from`. */
  constructor(rows: readonly SegmentRow[], from: number) {
    this.#rows = rows;
    this.#reader = new RecordReader(rows[0]?.records ?? Buffer.alloc(0));
    this.next = rows[0]?.first ?? from;
    while (this.next < from) {
      this.#reader.skip();
      this.next += 1;
    }
  }

  /** Whether there are no more records in its rows. */
  get isSpent(): boolean {
    return this.next >= (this.#rows.at(-1)?.next ?? 0);
  }

  /** At least one record, then up to the bounds. */
  take(recordsMax: number, bytesMax: number): LogRecord[] {
    const records: LogRecord[] = [];
    let bytes = 0;
    while (!this.isSpent && records.length < recordsMax) {
      if (this.next === this.#rows[this.#row]?.next) {
        this.#row += 1;
        this.#reader = new RecordReader(this.#rows[this.#row]?.records ?? Buffer.alloc(0));
      }
      bytes += this.#reader.size;
      if (records.length > 0 && bytes > bytesMax) break;
      records.push(this.#reader.next());
      this.next += 1;
    }
    return records;
  }
}

/** The newest rows that were appended in this process, up to a bound of bytes: most readers are there. */
export class RecentRows {
  readonly #bytesMax: number;
  #rows: SegmentRow[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(rows: readonly SegmentRow[]): void {
    // Of an appender that went on after somebody else's: what is between is not here.
    if (this.#rows.at(-1)?.next !== rows[0]?.first) this.clear();
    for (const row of rows) {
      this.#rows.push(row);
      this.#bytes += row.records.length;
    }
    let dropped = 0;
    for (; this.#bytes > this.#bytesMax && dropped < this.#rows.length; dropped += 1)
      this.#bytes -= this.#rows[dropped]?.records.length ?? 0;
    if (dropped > 0) this.#rows.splice(0, dropped);
  }

  /** The rows from the one that holds `from`, up to a bound of bytes; none if it is not here. */
  from(from: number, bytesMax: number): readonly SegmentRow[] {
    const rows = this.#rows;
    if (from < (rows[0]?.first ?? Infinity) || from >= (rows.at(-1)?.next ?? 0)) return [];
    let [low, high] = [0, rows.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((rows[middle]?.first ?? Infinity) <= from) low = middle;
      else high = middle - 1;
    }
    let end = low;
    for (let bytes = 0; end < rows.length && (end === low || bytes < bytesMax); end += 1)
      bytes += rows[end]?.records.length ?? 0;
    return rows.slice(low, end);
  }

  /** Lets go of rows that end at or before `before`. */
  release(before: number): void {
    const kept = this.#rows.findIndex((row) => row.next > before);
    const gone = this.#rows.splice(0, kept === -1 ? this.#rows.length : kept);
    for (const row of gone) this.#bytes -= row.records.length;
  }

  clear(): void {
    this.#rows = [];
    this.#bytes = 0;
  }
}
