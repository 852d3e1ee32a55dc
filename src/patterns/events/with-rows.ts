import { must } from '../../core/errors.ts';
import type { Evidence } from '../../core/evidence.ts';
import type { EventStore, NewEvent } from '../../ports/events.ts';
import type { DeciderTypes } from './event.ts';

/** What a command came to, while the transaction that appends it is open. */
export interface Decided<Types extends DeciderTypes> {
  readonly stream: string;
  readonly command: Types['command'];
  /** At least one. */
  readonly events: readonly Types['event'][];
  /** The state after them. */
  readonly state: Types['state'];
  /** The version of the aggregate after them. */
  readonly version: number;
}

/** Rows of the application that commit with the events of a command, or not at all. */
export interface WithRows<Types extends DeciderTypes, Tx> {
  /** Opens the transaction: `(work) => app.write('bank', work)`, of the store whose events these are. */
  readonly write: <Result>(
    work: (tx: Tx) => Promise<Result>,
  ) => Promise<{ readonly value: Result; readonly evidence: Evidence }>;
  /**
   * Writes the rows, once for each command that decided something; what it throws undoes the events too. It is called
   * again where the transaction was undone because somebody else was faster, so it does nothing but write to `tx`.
   */
  readonly rows: (tx: Tx, decided: Decided<Types>) => void | Promise<void>;
}

/** What appending in a transaction of the application came to. */
export interface AppendedWithRows {
  readonly version: number;
  readonly repeated: boolean;
  readonly evidence: Evidence;
}

/** Appends the events of a command and writes its rows, in one transaction. Throws as `appendIn`, `write` and `rows` do. */
export async function appendWithRows<Types extends DeciderTypes, Tx>(
  events: EventStore<Tx>,
  { write, rows }: WithRows<Types, Tx>,
  decided: Decided<Types>,
  written: readonly NewEvent[],
): Promise<AppendedWithRows> {
  const { stream, version } = decided;
  const expected = version - written.length;
  const { value, evidence } = await write(async (tx) => {
    const done = await events.appendIn(tx, [{ stream, events: written, expected }]);
    const placed = must(done[0], 'the outcome of the append');
    // Events that are there already have brought their rows with them.
    if (!placed.repeated) await rows(tx, decided);
    return placed;
  });
  return { version: value.version, repeated: value.repeated, evidence };
}
