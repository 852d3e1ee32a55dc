import { isTallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import type { AppendTexts } from '../../../ports/append.ts';
import type { Appended } from '../../../ports/events.ts';
import { openConnection, type Connection, type Synchronous } from '../connection.ts';
import { sqliteError } from '../errors.ts';
import { failureMessage, type FailureMessage } from '../failures.ts';
import { commitError } from '../source/write.ts';
import { EventWriter } from './writer.ts';

/** What the thread of appends is started with. */
export interface EngineSetup {
  readonly file: string;
  readonly synchronous: Synchronous;
  readonly busyTimeoutMs: number;
}

/** What became of one append of a flush. */
export type AppendOutcome = readonly Appended[] | FailureMessage;

/** Appends of many callers over one connection, without threads. Synchronous; it blocks its thread for the disk. */
export class EventEngine {
  readonly #connection: Connection;

  constructor({ file, synchronous, busyTimeoutMs }: EngineSetup) {
    this.#connection = openConnection({ file, synchronous, busyTimeoutMs });
  }

  /**
   * Commits all appends that may happen, durably, and tells of each what became of it. Throws if the transaction as a
   * whole failed; then nothing of any was kept, except after COMMIT_UNKNOWN.
   */
  flush(requests: readonly AppendTexts[], nowMs: number): readonly AppendOutcome[] {
    const { database, file } = this.#connection;
    try {
      this.#connection.prepare('BEGIN IMMEDIATE').run();
      const writer = new EventWriter(this.#connection, nowMs);
      const outcomes = requests.map((request) => outcomeOf(writer, request, file));
      point('events.before-commit');
      this.#commit();
      point('events.after-commit-before-answer');
      return outcomes;
    } catch (error) {
      // A failed statement may have ended the transaction already (a full disk does).
      if (database.isTransaction) this.#connection.prepare('ROLLBACK').run();
      throw sqliteError(error, file);
    }
  }

  close(): void {
    this.#connection.close();
  }

  #commit(): void {
    try {
      this.#connection.prepare('COMMIT').run();
    } catch (error) {
      throw commitError(error, this.#connection.file);
    }
  }
}

/** An append that was refused has written nothing; whatever else fails ends the whole transaction. */
function outcomeOf(writer: EventWriter, request: AppendTexts, where: string): AppendOutcome {
  try {
    return writer.append(request);
  } catch (error) {
    if (!isTallyError(error, 'STREAM_CONFLICT', 'EVENT_ID_REUSED')) throw error;
    return failureMessage(error, where);
  }
}
