import type { SourceEntry } from '../../../../ports/source.ts';

/** What a commit, or a table that is to be read again, counts as. */
const SMALL_BYTES = 64;

/** The bytes of an entry, as its texts count them. */
function sizeOf(entry: SourceEntry): number {
  if (entry.kind !== 'change') return SMALL_BYTES;
  return entry.key.length + (entry.before?.length ?? 0) + (entry.after?.length ?? 0);
}

/** Collects entries into batches that keep the bounds; a single entry may be larger. */
export class Batches {
  readonly #rowsMax: number;
  readonly #bytesMax: number;
  readonly #full: SourceEntry[][] = [];
  #present: SourceEntry[] = [];
  #rows = 0;
  #bytes = 0;

  constructor(bounds: { readonly rowsMax: number; readonly bytesMax: number }) {
    this.#rowsMax = bounds.rowsMax;
    this.#bytesMax = bounds.bytesMax;
  }

  /** Whether there are full batches. */
  get isFull(): boolean {
    return this.#full.length > 0;
  }

  get isEmpty(): boolean {
    return this.#present.length === 0 && this.#full.length === 0;
  }

  push(entry: SourceEntry): void {
    const present = this.#present;
    if (entry.kind === 'commit') {
      // Transactions without rows are positions only: the last of several says it all.
      const last = present.at(-1);
      if (entry.changes === 0 && last?.kind === 'commit' && last.changes === 0) present.pop();
      present.push(entry);
      return;
    }
    const bytes = sizeOf(entry);
    if (this.#rows >= this.#rowsMax || (this.#rows > 0 && this.#bytes + bytes > this.#bytesMax)) {
      this.#full.push(present);
      this.#start(entry, bytes);
      return;
    }
    present.push(entry);
    this.#rows++;
    this.#bytes += bytes;
  }

  /** The next full batch, or undefined. */
  takeFull(): readonly SourceEntry[] | undefined {
    return this.#full.shift();
  }

  /** What there is; undefined if there is nothing. Full ones come first. */
  take(): readonly SourceEntry[] | undefined {
    const full = this.#full.shift();
    if (full !== undefined) return full;
    if (this.#present.length === 0) return undefined;
    const present = this.#present;
    this.#present = [];
    this.#rows = 0;
    this.#bytes = 0;
    return present;
  }

  #start(entry: SourceEntry, bytes: number): void {
    this.#present = [entry];
    this.#rows = 1;
    this.#bytes = bytes;
  }
}
