import type { DatabaseSync } from 'node:sqlite';
import { TallyError } from '../../../core/errors.ts';
import type { Clock, Random } from '../../../ports/clock.ts';
import { openEventLane } from '../../../ports/event-lane.ts';
import type { OrderedEvent } from '../../../ports/event-entries.ts';
import type { Source } from '../../../ports/source.ts';
import { openConnection, type Connection, type Synchronous } from '../connection.ts';
import { fencedOut, Keeper } from '../source/keeper.ts';
import { Waker } from '../source/waker.ts';
import { writeWhole } from '../source/write.ts';
import { orderedPage } from './reader.ts';
import { ensureEvents, hasEvents, newestPosition, readSetting, writeSetting } from './schema.ts';

/** What an event store in a file is made of. `connection` is shared with the application. */
export interface EventsFileParts {
  readonly connection: Connection;
  readonly synchronous: Synchronous;
  readonly busyTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly pollMs: number;
}

/** The file of an event store: its connections, and how far the order of its events goes. */
export class EventsFile {
  readonly parts: EventsFileParts;
  readonly #waker: Waker;
  readonly #closing = new AbortController();
  #isReady = false;
  #keeper: Keeper | undefined;
  #reader: Connection | undefined;

  constructor(parts: EventsFileParts) {
    this.parts = parts;
    this.#waker = new Waker(parts.clock);
  }

  /** Aborts when the store closes. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** Resolves when the tables are there. */
  async ready(): Promise<void> {
    this.#assertOpen();
    if (this.#isReady) return;
    const { connection, random } = this.parts;
    if (!hasEvents(connection)) await this.keep((keeper) => ensureEvents(keeper, random));
    this.#isReady = true;
  }

  /** A connection that only reads, and sees what is committed. */
  reader(): Connection {
    this.#assertOpen();
    this.#reader ??= openConnection({ file: this.parts.connection.file, readOnly: true });
    return this.#reader;
  }

  /** Runs a write of the coordinator's own as soon as the file is free. */
  keep<Result>(work: (connection: Connection) => Result): Promise<Result> {
    this.#assertOpen();
    const { connection, synchronous, clock } = this.parts;
    this.#keeper ??= new Keeper(connection.file, synchronous, clock);
    return this.#keeper.run(work);
  }

  /** The newest position. */
  async head(): Promise<number> {
    await this.ready();
    return newestPosition(this.reader());
  }

  /** Somebody in this process has appended. */
  wake(): void {
    this.#waker.wake();
  }

  /** The newest position, each time that it is beyond the last one, until the signal aborts. */
  async *heads(after: number, signal: AbortSignal): AsyncGenerator<number, void, undefined> {
    let last = after;
    while (!signal.aborted) {
      // The look and the wait are of one turn: no append of this process can fall in between.
      await this.ready();
      const head = newestPosition(this.reader());
      if (head > last) {
        last = head;
        yield head;
      } else await this.#waker.sleep(this.parts.pollMs, signal);
    }
  }

  close(): void {
    this.#closing.abort();
    this.#waker.wake();
    this.#keeper?.close();
    this.#reader?.close();
  }

  #assertOpen(): void {
    if (!this.#closing.signal.aborted) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the event store was used after it was closed',
      where: this.parts.connection.file,
      mend: 'open the store again, or stop its users before closing it',
    });
  }
}

/** The order of all events of a file as a lane; see {@link openEventLane}. */
export function openEventsSource(file: EventsFile): Source<DatabaseSync> {
  const { connection } = file.parts;
  return openEventLane<DatabaseSync>({
    where: connection.file,
    closed: file.closed,
    ready: () => file.ready(),
    history: async () => `events/${readSetting(file.reader(), 'history')}`,
    // A file that was restored keeps its name: whether it has what was captured is proved at the start of a stream.
    mayContinue: () => false,
    head: () => file.head(),
    heads: (after, signal) => file.heads(after, signal),
    ordered: (after, upTo, bounds) => ordered(file, after, upTo, bounds),
    note: (workerEpoch, acknowledged = 0) =>
      file.keep((keeper) =>
        keeper.transaction(() => {
          const holder = Number(readSetting(keeper, 'worker_epoch'));
          if (workerEpoch < holder) throw fencedOut(workerEpoch, holder);
          if (workerEpoch > holder) writeSetting(keeper, 'worker_epoch', workerEpoch);
          if (acknowledged > Number(readSetting(keeper, 'acknowledged')))
            writeSetting(keeper, 'acknowledged', acknowledged);
        }),
      ),
    acknowledged: async () => Number(readSetting(file.reader(), 'acknowledged')),
    write: async (work) => {
      const committed = await connection.exclusive(() =>
        writeWhole(connection, work, () => newestPosition(connection)),
      );
      file.wake();
      return committed;
    },
  });
}

async function* ordered(
  file: EventsFile,
  after: number,
  upTo: number,
  bounds: { readonly rowsMax: number; readonly bytesMax: number },
): AsyncGenerator<readonly OrderedEvent[], void, undefined> {
  for (let at = after; at < upTo;) {
    const events = orderedPage(file.reader(), at, upTo, bounds);
    const last = events.at(-1);
    if (last === undefined) return;
    at = last.text.position;
    yield events;
  }
}
