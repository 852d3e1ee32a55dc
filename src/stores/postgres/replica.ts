import type pg from 'pg';
import { must } from '../../core/errors.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Replica, ReplicaFreshness } from '../../ports/replica.ts';
import type { Database, Queryable, Session } from './database.ts';
import { isConnectionLost, sqlState } from './errors.ts';

/** A replica that keeps up has replayed a commit within a few milliseconds. */
const POLL_MIN_MS = 1;
/** One query in twenty milliseconds is nothing to a server, and a wait this long has a reason of its own. */
const POLL_MAX_MS = 20;
const POLL_GROWTH = 1.5;

/** A standby as one look sees it. */
interface Seen {
  readonly system: string;
  readonly recovering: boolean;
  /** The last offset that readers see: LSN − 1, as with every end. */
  readonly offset: number;
  /** The timeline that it follows; undefined if the user may not see it. */
  readonly timeline: number | undefined;
}

/** What evidence must name for a server to compare with it: `systemIdentifier/timeline/…`. */
interface Wanted {
  readonly system: string;
  readonly timeline: number;
}

/** A replica, and the connection that it may have opened. */
export interface OpenReplica extends Replica {
  close(): Promise<void>;
}

/**
 * The server of `database` as a copy, by physical replication, of the store `of`. Its URL must lead to one server:
 * behind an address that spreads connections over several, what one was asked says nothing of the next. Needs
 * pg_read_all_stats (or pg_monitor), or else the REPLICATION attribute: without either nobody says which timeline
 * is followed, and every answer is `incomparable`.
 */
export function openReplica(database: Database, of: string): OpenReplica {
  const walsender = new TimelineConnection(database);
  return {
    of,
    reached: (history, offset, options) =>
      reached(database, walsender, wantedOf(history), offset, options),
    close: () => walsender.close(),
  };
}

async function reached(
  database: Database,
  walsender: TimelineConnection,
  wanted: Wanted | undefined,
  offset: number,
  options: { readonly withinMs: number; readonly signal?: AbortSignal },
): Promise<ReplicaFreshness> {
  if (wanted === undefined) return { kind: 'incomparable' };
  const { clock } = database;
  const untilMs = clock.monotonicMs() + options.withinMs;
  let intervalMs = POLL_MIN_MS;
  for (;;) {
    const seen = await look(database, walsender);
    const answer = judge(seen, wanted, offset);
    if (answer !== 'wait') return answer;
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0 || options.signal?.aborted === true) return late(seen, wanted);
    const waited = await pause(clock, Math.min(intervalMs, leftMs), options.signal);
    if (!waited) return late(seen, wanted);
    intervalMs = Math.min(intervalMs * POLL_GROWTH, POLL_MAX_MS);
  }
}

/**
 * A pure decision. Timelines of a server only grow. `seen.timeline` was read after `seen.offset`, so if it is the
 * wanted one, the offset was replayed on it or on the part that it shares with the ones before: a server refuses to
 * follow a timeline that forked off behind what it has replayed. The other way round it would be wrong: 1. timeline
 * 1 is read  2. the standby follows a promotion to timeline 2, which forked off before the offset  3. timeline 2
 * grows past the offset  4. the offset seems to be reached, and the commit that had it is lost.
 */
export function judge(seen: Seen, wanted: Wanted, offset: number): ReplicaFreshness | 'wait' {
  if (seen.system !== wanted.system || seen.timeline === undefined) return { kind: 'incomparable' };
  // It has left the wanted timeline, perhaps before the offset.
  if (seen.timeline > wanted.timeline) return { kind: 'incomparable' };
  // It takes writes of its own, or will not go on by itself: what is not there will never come.
  if (!seen.recovering && seen.timeline < wanted.timeline) return { kind: 'incomparable' };
  if (seen.timeline === wanted.timeline && seen.offset >= offset) return { kind: 'fresh' };
  return 'wait';
}

/** After the limit: a server that is still on an older timeline may never come to the wanted one. */
function late(seen: Seen, wanted: Wanted): ReplicaFreshness {
  return seen.timeline === wanted.timeline
    ? { kind: 'timeout', seen: seen.offset }
    : { kind: 'incomparable' };
}

/** False if the wait was aborted. */
async function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, signal);
    return true;
  } catch (error) {
    if (signal?.aborted === true) return false;
    throw error;
  }
}

/**
 * One message. The subquery of the timeline depends on the row of `w`, so it is run after the LSN was read; see
 * {@link judge} for why that matters. A primary (a standby that was promoted) names its timeline in the names of
 * its WAL files; the control file does not, before the first checkpoint after the promotion.
 */
const LOOK = `
  WITH w AS MATERIALIZED (
    SELECT pg_is_in_recovery() AS recovering,
      (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::int8 AS lsn)
  SELECT recovering, lsn, (SELECT system_identifier::text FROM pg_control_system()) AS system,
    CASE WHEN recovering
      THEN (SELECT received_tli FROM pg_stat_wal_receiver WHERE w.lsn IS NOT NULL)
      ELSE ('x' || left(pg_walfile_name('0/0'::pg_lsn + w.lsn), 8))::bit(32)::int END AS timeline
  FROM w`;

async function look(database: Database, walsender: TimelineConnection): Promise<Seen> {
  const row = await lookOnce(database);
  const timeline = row.timeline ?? (await walsender.timeline());
  return {
    system: row.system,
    recovering: row.recovering,
    offset: (row.lsn ?? 1) - 1,
    timeline,
  };
}

interface LookRow {
  readonly recovering: boolean;
  readonly lsn: number | null;
  readonly system: string;
  readonly timeline: number | null;
}

async function lookOnce(on: Queryable): Promise<LookRow> {
  for (let attempt = 1; ; attempt++) {
    try {
      const [row] = await on.query<LookRow>(LOOK);
      return must(row, 'the state of the replica');
    } catch (error) {
      // "recovery is (not) in progress": it was promoted between two functions of the statement.
      if (sqlState(error) !== '55000' || attempt === 3) throw error;
    }
  }
}

/**
 * Asks IDENTIFY_SYSTEM, whose timeline is that of the last record replayed. For users who may not see
 * pg_stat_wal_receiver, and while no receiver runs. One connection, kept: it takes one of max_wal_senders.
 */
class TimelineConnection {
  readonly #database: Database;
  #session: Promise<Session> | undefined;
  /** The user may not open such a connection; asking again for each read would not change that. */
  #refused = false;
  #closed = false;

  constructor(database: Database) {
    this.#database = database;
  }

  async timeline(): Promise<number | undefined> {
    if (this.#refused || this.#closed) return undefined;
    try {
      this.#session ??= this.#database.connect({ replication: 'database' } as pg.ClientConfig);
      const session = await this.#session;
      const { rows } = await session.run('IDENTIFY_SYSTEM');
      const timeline = rows[0]?.[1];
      return timeline === undefined ? undefined : Number(timeline);
    } catch (error) {
      const session = this.#session;
      this.#session = undefined;
      await session?.then((open) => open.close()).catch(() => undefined);
      if (sqlState(error) === '42501') {
        this.#refused = true;
        return undefined;
      }
      if (isConnectionLost(error)) return undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#session?.then((session) => session.close()).catch(() => undefined);
  }
}

function wantedOf(history: string): Wanted | undefined {
  const [system, timeline] = history.split('/');
  if (system === undefined || !/^\d+$/.test(system) || !/^\d+$/.test(timeline ?? ''))
    return undefined;
  return { system, timeline: Number(timeline) };
}
