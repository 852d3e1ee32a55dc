import { decodeRow, encodeKey, encodeValue } from '../../core/codec.ts';
import type { Value } from '../../core/row.ts';
import { EVENTS_TABLE, type StoredText } from '../../ports/append.ts';
import type { SourceState } from './state.ts';

/** The committed events of a state, by everything that they are looked for by. */
export class EventIndex {
  readonly all: StoredText[] = [];
  readonly streams: Map<string, StoredText[]> = new Map();
  readonly ids: Map<string, StoredText> = new Map();
  readonly #source: SourceState;

  constructor(source: SourceState) {
    this.#source = source;
  }

  /** Takes in what was committed since. Positions have no gaps, so the next one is known by its key. */
  refresh(): this {
    const rows = this.#source.tables.get(EVENTS_TABLE)?.rows;
    for (;;) {
      const text = rows?.get(encodeKey([this.all.length + 1]));
      if (text === undefined) return this;
      const event = storedText(text);
      this.all.push(event);
      this.ids.set(event.id, event);
      const stream = this.streams.get(event.stream);
      if (stream === undefined) this.streams.set(event.stream, [event]);
      else stream.push(event);
    }
  }
}

function storedText(row: string): StoredText {
  const event = decodeRow(row) as unknown as StoredText & {
    readonly data: Value;
    readonly metadata: Value;
  };
  return { ...event, data: encodeValue(event.data), metadata: encodeValue(event.metadata) };
}
