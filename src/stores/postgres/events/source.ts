import type pg from 'pg';
import { point } from '../../../observe/point.ts';
import { openEventLane } from '../../../ports/event-lane.ts';
import type { Committed, Source } from '../../../ports/source.ts';
import type { Database } from '../database.ts';
import { placeAfterCommit } from '../outbox/evidence.ts';
import { readIdentity } from '../source/history.ts';
import { writeMeasured } from '../source/write.ts';
import type { EventsPulse } from './pulse.ts';
import { orderedEvents } from './reader.ts';
import { noteWorker, readEventStore } from './state.ts';

/** The order of all events of a store in PostgreSQL as a lane; see {@link openEventLane}. */
export function openEventsSource(database: Database, pulse: EventsPulse): Source<pg.PoolClient> {
  const histories = new Histories(database);
  return openEventLane<pg.PoolClient>({
    where: database.where,
    closed: pulse.closed,
    ready: () => pulse.ready(),
    history: () => histories.now(),
    mayContinue,
    head: () => pulse.head(),
    heads: (after, signal) => pulse.heads(after, signal),
    ordered: (after, upTo, bounds) => orderedEvents(database, after, upTo, bounds),
    note: (workerEpoch, acknowledged) => noteWorker(database, workerEpoch, acknowledged),
    acknowledged: async () => (await readEventStore(database)).acknowledged,
    write: (work) => write(database, { pulse, histories }, work),
  });
}

async function write<Result>(
  database: Database,
  { pulse, histories }: { readonly pulse: EventsPulse; readonly histories: Histories },
  work: (tx: pg.PoolClient) => Result | Promise<Result>,
): Promise<Committed<Result>> {
  const { value, run } = await writeMeasured(database, work);
  point('events.after-transaction-before-place');
  const offset = await placeAfterCommit(database, () => pulse.head());
  pulse.beat();
  return { value, offset, history: await histories.of(run) };
}

/** The same server on an older timeline went back; another server has the tables by a dump or a subscription. */
function mayContinue(before: string, now: string): boolean {
  const [, system, timeline, id] = before.split('/');
  const [, systemNow, timelineNow, idNow] = now.split('/');
  return id === idNow && (system !== systemNow || Number(timelineNow) > Number(timeline));
}

class Histories {
  readonly #database: Database;
  /** What a run of the server says that its history is. */
  #seen: { readonly run: string; readonly history: string } | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  async now(): Promise<string> {
    const { system, timeline } = await readIdentity(this.#database);
    const history = `events/${system}/${timeline}/${(await readEventStore(this.#database)).history}`;
    if (this.#seen?.history !== history) this.#seen = undefined;
    return history;
  }

  /**
   * The history of what was committed in a run of the server: one that has failed over or was replaced since gives
   * out positions anew. A history that cannot be told is none, and compares with nothing.
   */
  async of(run: string | undefined): Promise<string> {
    if (run !== undefined && this.#seen?.run === run) return this.#seen.history;
    try {
      const history = await this.now();
      if (run !== undefined) this.#seen = { run, history };
      return history;
    } catch {
      return 'unknown';
    }
  }
}
