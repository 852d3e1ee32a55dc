import type { Duplex } from 'node:stream';
import { must, TallyError } from '../../../../core/errors.ts';
import { parseLsn } from '../lsn.ts';
import {
  identifier,
  literal,
  postgresError,
  sqlState,
  type Database,
  type Session,
} from '../server.ts';
import { valueOptions } from '../values.ts';
import { RUN } from '../witness.ts';
import { CopyBoth } from './copy-both.ts';
import type { SlotState } from './proof.ts';

/** How often the server hears from a stream, and is asked for a sign of life. */
const STATUS_EVERY_MS = 10_000;
/**
 * Silence after which a connection is dead. The server is told the same of us (wal_sender_timeout): then it speaks
 * at least twice in that time, also while it reads far without finding anything to send.
 */
const SILENT_MAX_MS = 30_000;
/** How long a stream waits for the one before it to let go of the slot, and how often it looks. */
const SLOT_BUSY_MAX_MS = 10_000;
const SLOT_BUSY_RETRY_MS = 20;

/** How to reach the server; a Database is one. */
export type ReplicationTarget = Pick<Database, 'connect' | 'where' | 'clock' | 'config'>;

/** Times of a connection, for tests; the defaults are right. */
export interface ReplicationTimes {
  readonly statusEveryMs?: number;
  readonly silentMaxMs?: number;
}

/** What the server says that it is. */
export interface SystemIdentity {
  readonly systemId: string;
  readonly timeline: number;
  /** The end of what is durable of its write-ahead log. */
  readonly walEnd: number;
}

/** Where a timeline ended and the next one began. */
export interface TimelineFork {
  readonly timeline: number;
  readonly endLsn: number;
}

/** A snapshot that other sessions can take up (`SET TRANSACTION SNAPSHOT`) for as long as it is open. */
export interface ExportedSnapshot {
  /** A transaction is in the snapshot if and only if its commit record ends at or before this place. */
  readonly consistentLsn: number;
  readonly snapshotName: string;
  /** Aborts when the connection is gone, and the snapshot with it: sessions that have it already keep it. */
  readonly lost: AbortSignal;
  close(): Promise<void>;
}

/** A session that speaks the replication protocol, before it streams. */
export class ReplicationConnection implements AsyncDisposable {
  readonly #target: ReplicationTarget;
  readonly #session: Session;
  readonly #times: ReplicationTimes;
  #copy: CopyBoth | undefined;

  private constructor(target: ReplicationTarget, session: Session, times: ReplicationTimes) {
    this.#target = target;
    this.#session = session;
    this.#times = times;
  }

  /** Connects. Throws STORE_UNREACHABLE, or CAPABILITY_MISSING if the user may not replicate. */
  static async open(
    target: ReplicationTarget,
    times: ReplicationTimes = {},
  ): Promise<ReplicationConnection> {
    const silentMaxMs = times.silentMaxMs ?? SILENT_MAX_MS;
    const session = await target.connect({
      // The driver passes it on; its types do not name it.
      ...({ replication: 'database' } as object),
      options: `${valueOptions(target.config.options)} -c wal_sender_timeout=${silentMaxMs}`,
    });
    return new ReplicationConnection(target, session, times);
  }

  /** The server, as IDENTIFY_SYSTEM shows it. */
  async identify(): Promise<SystemIdentity> {
    const row = await this.#one('IDENTIFY_SYSTEM');
    return {
      systemId: String(row['systemid']),
      timeline: Number(row['timeline']),
      walEnd: parseLsn(String(row['xlogpos'])),
    };
  }

  /** Which run of which server this is; see `witness.ts`. */
  async run(): Promise<string> {
    return String((await this.#one(`SELECT ${RUN} AS run`))['run']);
  }

  /** Where the timelines before `timeline` ended, oldest first; empty for the first one. */
  async timelineHistory(timeline: number): Promise<readonly TimelineFork[]> {
    if (timeline === 1) return [];
    const row = await this.#one(`TIMELINE_HISTORY ${timeline}`);
    const content = row['content'];
    const text = content instanceof Uint8Array ? Buffer.from(content).toString() : String(content);
    return text.split('\n').flatMap((line) => {
      const match = /^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/.exec(line);
      return match === null
        ? []
        : [{ timeline: Number(match[1]), endLsn: parseLsn(String(match[2])) }];
    });
  }

  /** Where the slot stands; undefined if this database has none of that name. */
  async slotState(slot: string): Promise<SlotState | undefined> {
    const rows = await this.#session.query(
      // The reason has a column of its own from PostgreSQL 17 on.
      `SELECT confirmed_flush_lsn::text AS confirmed, wal_status, to_jsonb(s)->>'invalidation_reason' AS reason ` +
        `FROM pg_catalog.pg_replication_slots s WHERE slot_name = ${literal(slot)} AND database = current_database()`,
    );
    const row = rows[0];
    if (row === undefined) return undefined;
    const reason = row['reason'] ?? (row['wal_status'] === 'lost' ? 'wal_removed' : undefined);
    const confirmed = row['confirmed'];
    return {
      confirmedLsn: typeof confirmed === 'string' ? parseLsn(confirmed) : 0,
      invalid: typeof reason === 'string' ? reason : undefined,
    };
  }

  /**
   * Whether the server vouches for the encoding of its texts: in SQL_ASCII it takes any bytes, and hands them out as
   * they are only to a client that asks for nothing else. To be called before {@link stream}.
   */
  async settleEncoding(): Promise<'utf-8' | 'any bytes'> {
    const [row] = await this.#session.query(`SHOW server_encoding`);
    if (row?.['server_encoding'] !== 'SQL_ASCII') return 'utf-8';
    await this.#session.query(`SET client_encoding = 'SQL_ASCII'`);
    return 'any bytes';
  }

  /** Makes a temporary slot for the snapshot that comes with it. Waits for the transactions that are running. */
  async createExportedSnapshot(slot: string): Promise<ExportedSnapshot> {
    const losing = new AbortController();
    this.#session.client.once('end', () => losing.abort());
    const row = await this.#one(
      `CREATE_REPLICATION_SLOT ${identifier(slot)} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')`,
    );
    return {
      consistentLsn: parseLsn(String(row['consistent_point'])),
      snapshotName: String(row['snapshot_name']),
      lost: losing.signal,
      close: () => this.close(),
    };
  }

  /**
   * Starts the stream of a slot from where it is confirmed, and takes the socket over from the driver: its parser
   * makes an object and a copy of each message, and cannot be held back. `confirmedLsn` is asked for each status
   * update. Throws HISTORY_LOST if the slot or what it needs is gone, STORE_BUSY if somebody else goes on reading it.
   */
  async stream(slot: string, publication: string, confirmedLsn: () => number): Promise<CopyBoth> {
    const { clock, where } = this.#target;
    const { stream: socket } = this.#session.client.connection as { readonly stream: Duplex };
    socket.removeAllListeners('data');
    const copy = new CopyBoth({
      socket,
      clock,
      where,
      statusEveryMs: this.#times.statusEveryMs ?? STATUS_EVERY_MS,
      silentMaxMs: this.#times.silentMaxMs ?? SILENT_MAX_MS,
      confirmedLsn,
    });
    this.#copy = copy;
    const command =
      `START_REPLICATION SLOT ${identifier(slot)} LOGICAL 0/0 ("proto_version" '2', "streaming" 'on', ` +
      `"messages" 'true', "publication_names" ${quoted(identifier(publication))})`;
    const until = clock.monotonicMs() + SLOT_BUSY_MAX_MS;
    for (;;) {
      try {
        await copy.start(command);
        return copy;
      } catch (error) {
        // 55006: the connection before this one is gone, but its process has not seen it yet.
        if (sqlState(error) !== '55006' || clock.monotonicMs() > until)
          throw startFailure(error, slot, where);
        await clock.sleep(SLOT_BUSY_RETRY_MS);
      }
    }
  }

  /** Ends whatever is under way, at once. */
  destroy(): void {
    this.#copy?.close();
    (this.#session.client.connection as { readonly stream: Duplex }).stream.destroy();
  }

  async close(): Promise<void> {
    if (this.#copy !== undefined) this.destroy();
    else await this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #one(command: string): Promise<Readonly<Record<string, unknown>>> {
    const [row] = await this.#session.query(command);
    return must(row, `the answer to ${command.split(' ', 1)[0]}`);
  }
}

/** A text of the replication grammar, which knows no backslashes. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** What the server ends a stream with: what it needs is gone for good, or it is a failure like any other. */
export function streamFailure(error: unknown, slot: string, where: string): unknown {
  const cause = error instanceof TallyError ? error.cause : error;
  const state = sqlState(cause);
  const text = cause instanceof Error ? cause.message : '';
  const gone =
    // undefined_object: slot or publication; undefined_file: a segment of the log was removed.
    state === '42704' || state === '58P01' || (state === '55000' && /slot|no longer/i.test(text));
  if (!gone) return postgresError(error, where);
  return new TallyError('HISTORY_LOST', {
    what: `the slot '${slot}' cannot be read any more: ${text}`,
    where,
    mend: 'take a new snapshot of the tables; raise max_slot_wal_keep_size if the server gave the log away',
    details: { slot, ...(state === undefined ? {} : { state }) },
    cause,
  });
}

function startFailure(error: unknown, slot: string, where: string): unknown {
  if (sqlState(error) !== '55006') return streamFailure(error, slot, where);
  return new TallyError('STORE_BUSY', {
    what: `the slot '${slot}' is read by somebody else`,
    where,
    mend: 'give each application a slot of its own; pg_replication_slots.active_pid shows who reads it',
    details: { slot },
    cause: error,
  });
}
