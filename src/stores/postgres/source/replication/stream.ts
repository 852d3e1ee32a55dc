import { isTallyError, TallyError } from '../../../../core/errors.ts';
import type { SourceEntry, StreamOptions } from '../../../../ports/source.ts';
import { formatLsn } from '../lsn.ts';
import type { TypeResolver } from '../values.ts';
import { Assembler } from './assembler.ts';
import {
  ReplicationConnection,
  streamFailure,
  type ReplicationTarget,
  type ReplicationTimes,
} from './connection.ts';
import type { CopyBoth } from './copy-both.ts';
import { commitMs, PgOutputDecoder, readLsn, readMicros } from './pgoutput.ts';
import { checkUnread, Proof, readToken, type SlotState } from './proof.ts';
import { isAsPrepared, variableTypes, type PreparedTable } from './relation.ts';
import { StreamedTransactions } from './streamed.ts';

/** Markers alone are not told more often than this: each is a write in the log. */
const MARKER_EVERY_MS = 10;
/** Log that the slot may hold for tables which do not change, before it is moved on; see {@link ReplicationParts}. */
const HEARTBEAT_BYTES = 16 * 1024 * 1024;
/** At most one heartbeat in this time: it has to come back, be logged and be acknowledged to be of use. */
const HEARTBEAT_EVERY_MS = 10_000;

const CHANGES = 0x77; // w
const KEEPALIVE = 0x6b; // k
const STREAM_STOP = 0x45; // E
/** Before the message of the plugin: the letter, where it starts, where the log ends, the time. */
const CHANGES_HEADER_BYTES = 25;

/** The types of the database, and how to ask for those that are not there yet. */
export interface TypeCatalog extends TypeResolver {
  load(oids: readonly number[]): Promise<void>;
}

/** What a stream needs of its source. */
export interface ReplicationParts {
  readonly target: ReplicationTarget;
  readonly slot: string;
  readonly publication: string;
  /** The tables that flows read, by the OID of the table (of the one above its partitions). */
  readonly tables: ReadonlyMap<number, PreparedTable>;
  readonly types: TypeCatalog;
  /** The table as it is now, for one that is not what it was when it was prepared; undefined if it is gone. */
  readonly describe: (oid: number) => Promise<PreparedTable | undefined>;
  /** Where the slot was made: one that was never read stands there. */
  readonly consistentLsn: number;
  /** Where the last transaction that was acknowledged starts; 0 if none was. */
  readonly acknowledgedLsn: number;
  /** Writes a transaction without changes that comes through the slot (`pg_logical_emit_message(true, …)`). */
  readonly heartbeat: () => Promise<void>;
  /** Log held by the slot for nothing after which the source is asked for a heartbeat. */
  readonly heartbeatBytes?: number;
  /** Told once, when it is certain that the server holds what was captured: in which of its runs that was. */
  readonly onProven?: (run: string) => Promise<void>;
  readonly times?: ReplicationTimes;
  /** Bytes of the longest change that is told, for tests; the default is what a record can hold. */
  readonly changeBytesMax?: number;
}

/** One reader of a slot. */
export class ReplicationStream {
  readonly #parts: ReplicationParts;
  #confirmedLsn = 0;
  #acknowledgedLsn: number;
  #proof: Proof | undefined;
  /** The run of the server, until its history is proved. */
  #unproven: string | undefined;
  #copy: CopyBoth | undefined;
  #walEnd = 0;
  #heartbeatMs = -Infinity;
  #heartbeatFailure: unknown;
  #markerMs = -Infinity;

  constructor(parts: ReplicationParts) {
    this.#parts = parts;
    this.#acknowledgedLsn = parts.acknowledgedLsn;
  }

  /** The end of what the server has sent, as it said last; 0 before it did. */
  get walEnd(): number {
    return this.#walEnd;
  }

  /**
   * The transaction that starts at `startLsn`, and all before it, are durable in the log. The slot is moved there and
   * no further, so that this very transaction comes again. Never moves back.
   */
  acknowledge(startLsn: number): void {
    this.#acknowledgedLsn = Math.max(this.#acknowledgedLsn, startLsn);
    if (!this.#confirm()) return;
    this.#copy?.status(this.#confirmedLsn, this.#confirmedLsn, 'no-reply');
  }

  /** The entries of the source, see Source.stream. Can be called once. */
  async *entries(options: StreamOptions): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const { signal } = options;
    if (signal.aborted) return;
    const { target, times, slot } = this.#parts;
    await using connection = await openUnlessAborted(target, times, signal);
    if (connection === undefined) return;
    await using streamed = new StreamedTransactions();
    const stop = (): void => connection.destroy();
    signal.addEventListener('abort', stop);
    try {
      if (isAborted(signal)) return;
      const assembler = await this.#prepare(connection, options);
      const { publication } = this.#parts;
      const confirmed = (): number => {
        this.#confirm();
        return this.#confirmedLsn;
      };
      const copy = await connection.stream(slot, publication, confirmed);
      this.#copy = copy;
      yield* this.#read({ copy, assembler, streamed, signal });
    } catch (error) {
      // Whatever fails after the reader went away fails because of it.
      if (!signal.aborted) throw streamFailure(error, slot, target.where);
    } finally {
      this.#copy = undefined;
      signal.removeEventListener('abort', stop);
    }
  }

  async #prepare(connection: ReplicationConnection, options: StreamOptions): Promise<Assembler> {
    const { slot, target, tables, types, consistentLsn } = this.#parts;
    const { after, rowsMax, bytesMax } = options;
    const found = await connection.slotState(slot);
    const state = checkSlot(found, slot, target.where);
    this.#confirmedLsn = state.confirmedLsn;
    this.#unproven = await connection.run();
    if (after === undefined) checkUnread(state, consistentLsn, target.where);
    else {
      this.#proof = new Proof(after, target.where);
      this.#proof.checkStart(state, (await connection.identify()).walEnd);
    }
    return new Assembler({
      slot,
      tables,
      types,
      validated: (await connection.settleEncoding()) === 'utf-8',
      proof: this.#proof,
      lastOffset: after?.offset ?? 0,
      token: after?.token,
      rowsMax,
      bytesMax,
      changeBytesMax: this.#parts.changeBytesMax,
    });
  }

  async *#read(reading: Reading): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const { copy, assembler, streamed, signal } = reading;
    const { batches } = assembler;
    const { clock } = this.#parts.target;
    const decoder = new PgOutputDecoder(assembler);
    await this.#prove();
    for (;;) {
      while (!signal.aborted && copy.next()) {
        this.#take(reading, decoder);
        if (this.#unproven !== undefined) await this.#prove();
        if (assembler.described !== undefined) await this.#describe(assembler);
        if (assembler.aborted !== undefined) await this.#abort(reading);
        if (streamed.isDue) await streamed.flush();
        if (assembler.toReplay !== undefined) yield* this.#replay(reading, decoder);
        while (batches.isFull) yield batches.takeFull() ?? [];
      }
      if (signal.aborted) return;
      if (this.#heartbeatFailure !== undefined) throw this.#heartbeatFailure;
      // Nothing is waited for: what is there is told, and the next batch gathers while this one is logged.
      const markerInMs = this.#markerMs + MARKER_EVERY_MS - clock.monotonicMs();
      if (assembler.hasMarker && (markerInMs <= 0 || !batches.isEmpty)) {
        assembler.mark();
        this.#markerMs = clock.monotonicMs();
      }
      const batch = batches.take();
      if (batch !== undefined) yield batch;
      else await copy.wait(assembler.hasMarker ? markerInMs : undefined);
    }
  }

  /** Says so as soon as the history is proved: also what writes leave behind is believed from then on. */
  async #prove(): Promise<void> {
    if (this.#proof?.isMet === false || this.#unproven === undefined) return;
    const run = this.#unproven;
    this.#unproven = undefined;
    await this.#parts.onProven?.(run);
  }

  /** Takes one message of the replication protocol. */
  #take({ copy, assembler, streamed }: Reading, decoder: PgOutputDecoder): void {
    const { bytes, start, end } = copy.frames;
    if (bytes[start] === CHANGES) {
      const at = start + CHANGES_HEADER_BYTES;
      const { block } = assembler;
      if (block === undefined || bytes[at] === STREAM_STOP)
        decoder.decode(bytes, at, end, 'committed');
      // What the proof is waiting for is in the log already, so that it need not be kept.
      else if (this.#proof?.isAwaited(block) !== true) streamed.add(block, bytes, at, end);
      return;
    }
    if (bytes[start] !== KEEPALIVE)
      throw new TallyError('STORE_CORRUPT', {
        what: `the server sent a replication message '${String.fromCharCode(bytes[start] ?? 0)}', which is not known`,
        where: this.#parts.target.where,
        mend: 'nothing was skipped; upgrade Tallystick, or report the version of the server',
      });
    this.#walEnd = readLsn(bytes, start + 1);
    assembler.keepalive(this.#walEnd, commitMs(readMicros(bytes, start + 9)));
    // Says what has arrived, and nothing of what may be forgotten: a server that shuts down waits for this answer
    // to come to the end of its log, and would wait for ever for one that tells what is acknowledged.
    if (bytes[start + 17] === 1) copy.status(this.#walEnd, 0, 'no-reply');
    this.#beat();
  }

  /** Plays a transaction that was sent while it was in progress, now that it is committed. */
  async *#replay(
    { assembler, streamed, signal }: Reading,
    decoder: PgOutputDecoder,
  ): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const { batches, toReplay: committing } = assembler;
    assembler.toReplay = undefined;
    if (committing === undefined) return;
    const isNew = assembler.start(committing);
    if (isNew) {
      const play = (bytes: Buffer, start: number, end: number): Promise<void> | undefined => {
        decoder.decode(bytes, start, end, 'in-progress');
        return assembler.described === undefined ? undefined : this.#describe(assembler);
      };
      for await (const _ of streamed.replay(committing.xid, play)) {
        while (batches.isFull) yield batches.takeFull() ?? [];
        if (signal.aborted) return;
      }
    } else await streamed.forget(committing.xid);
    assembler.commit(committing.startLsn, committing.endLsn);
  }

  async #abort({ assembler, streamed }: Reading): Promise<void> {
    const { aborted } = assembler;
    assembler.aborted = undefined;
    if (aborted !== undefined) await streamed.abort(aborted.xid, aborted.subXid);
  }

  /** Makes ready for the changes of a table that was described: its types, and its key if that is another one. */
  async #describe(assembler: Assembler): Promise<void> {
    const { described: relation } = assembler;
    if (relation === undefined) return;
    const { types, describe } = this.#parts;
    const table = assembler.tableOf(relation);
    if (table === undefined) {
      assembler.resolve(relation, undefined);
      return;
    }
    const unknown = variableTypes(relation).filter((oid) => types.get(oid) === undefined);
    if (unknown.length > 0) await types.load(unknown);
    const isKnown = isAsPrepared(relation, table);
    assembler.resolve(relation, isKnown ? undefined : await describe(relation.oid).catch(gone));
  }

  /** Confirms what is acknowledged, once the history is proved; whether that moves the slot. */
  #confirm(): boolean {
    if (this.#proof?.isMet === false || this.#acknowledgedLsn <= this.#confirmedLsn) return false;
    this.#confirmedLsn = this.#acknowledgedLsn;
    return true;
  }

  /** Asks for a heartbeat if the slot holds much of the log although none of our tables changes. */
  #beat(): void {
    const { target, heartbeat, heartbeatBytes = HEARTBEAT_BYTES } = this.#parts;
    const now = target.clock.monotonicMs();
    if (this.#walEnd - this.#confirmedLsn <= heartbeatBytes) return;
    if (now - this.#heartbeatMs < HEARTBEAT_EVERY_MS) return;
    this.#heartbeatMs = now;
    heartbeat().catch((error: unknown) => {
      this.#heartbeatFailure = error;
      this.#copy?.wake();
    });
  }
}

interface Reading {
  readonly copy: CopyBoth;
  readonly assembler: Assembler;
  readonly streamed: StreamedTransactions;
  readonly signal: AbortSignal;
}

/** Where the transaction of a cursor starts: what {@link ReplicationStream.acknowledge} takes. */
export function acknowledgedLsn(token: string): number {
  return readToken(token).startLsn;
}

function checkSlot(state: SlotState | undefined, slot: string, where: string): SlotState {
  if (state !== undefined && state.invalid === undefined) return state;
  const why =
    state === undefined ? 'is not there' : `was given up by the server (${state.invalid})`;
  const at = state === undefined ? '' : `, at ${formatLsn(state.confirmedLsn)}`;
  throw new TallyError('HISTORY_LOST', {
    what: `the slot '${slot}' ${why}${at}`,
    where,
    mend: 'take a new snapshot of the tables; raise max_slot_wal_keep_size if the server gave the log away',
    details: { slot, invalid: state?.invalid ?? 'missing' },
  });
}

/** A server that does not answer is not waited for by a reader that went away; undefined then. */
async function openUnlessAborted(
  target: ReplicationTarget,
  times: ReplicationTimes | undefined,
  signal: AbortSignal,
): Promise<ReplicationConnection | undefined> {
  const opening = ReplicationConnection.open(target, times);
  let stop: () => void = ignore;
  const aborted = new Promise<undefined>((resolve) => (stop = () => resolve(undefined)));
  signal.addEventListener('abort', stop);
  try {
    const opened = await Promise.race([opening, aborted]);
    if (opened === undefined) opening.then((late) => late.close()).catch(ignore);
    return opened;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function ignore(): void {
  // Nobody waits for it any more.
}

/** A table that was dropped since, or that cannot be captured any more, is read as it was prepared. */
function gone(error: unknown): undefined {
  if (!isTallyError(error, 'TABLE_UNKNOWN', 'TABLE_UNSUPPORTED')) throw error;
}

/** Asked again after a wait: the compiler remembers what it saw before. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
