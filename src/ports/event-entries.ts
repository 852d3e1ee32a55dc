import { eventRowText, EVENTS_TABLE, type StoredText } from './append.ts';
import type { SourceEntry } from './source.ts';

/** An event in the order of all, and whether it is the last of what must be seen together. */
export interface OrderedEvent {
  readonly text: StoredText;
  readonly ends: boolean;
}

/**
 * Events in the order of their positions as changes and commits of a lane. Appends that are read together arrive as one
 * transaction: its changes stand at its first position, its commit at its last. What must be seen together is never
 * cut: a commit stands only where something ends.
 */
export class EventEntries {
  #first: number | undefined;
  #count = 0;

  /** The entries of some events that follow one another, with a commit behind the last one that ends something. */
  take(events: readonly OrderedEvent[]): readonly SourceEntry[] {
    const entries: SourceEntry[] = [];
    const end = events.findLastIndex(({ ends }) => ends);
    for (const [index, { text }] of events.entries()) {
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
      if (index === end) entries.push(this.#commit(text));
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
