import { eventRowText, EVENTS_TABLE, type StoredText } from './append.ts';
import type { SourceEntry } from './source.ts';

/** An event in the order of all, and whether it is the last of what must be seen together. */
export interface OrderedEvent {
  readonly text: StoredText;
  readonly ends: boolean;
}

/**
 * Events in the order of their positions as changes and commits of a lane. What was appended together arrives as one
 * transaction, however events are read: its changes stand at its first position, its commit at its last.
 *
 * Several appends never make one transaction. A snapshot stands at a head that somebody could read, and so behind an
 * append. Were the appends 4 and 5 one transaction, then: 1. a snapshot is read at 4 2. event 5 comes, stamped with the
 * first position of its transaction, 4 3. it is taken for something that the snapshot has: lost, and called fresh.
 */
export class EventEntries {
  #first: number | undefined;
  #count = 0;

  /** The entries of some events that follow one another, with a commit behind each that ends an append. */
  take(events: readonly OrderedEvent[]): readonly SourceEntry[] {
    const entries: SourceEntry[] = [];
    for (const { text, ends } of events) {
      this.#first ??= text.position;
      entries.push({
        kind: 'change',
        offset: this.#first,
        ordinal: this.#count,
        table: EVENTS_TABLE,
        operation: 'create',
        key: `[${text.position}]`,
        before: null,
        after: eventRowText(text),
      });
      this.#count += 1;
      if (ends) entries.push(this.#commit(text));
    }
    return entries;
  }

  #commit({ position, atMs, id }: StoredText): SourceEntry {
    const changes = this.#count;
    this.#first = undefined;
    this.#count = 0;
    // The id at a position is the proof that a history is still the one that was read.
    return { kind: 'commit', offset: position, changes, committedAtMs: atMs, token: id };
  }
}
