import { TallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import type { SourceCursor, SourceEntry, StreamOptions } from '../../../ports/source.ts';
import { sqlState } from '../errors.ts';
import { markAcknowledged, type CaptureState } from './capture-state.ts';
import { readTypes } from './catalog.ts';
import { endLsn, formatLsn, parseLsn } from './lsn.ts';
import { acknowledgedLsn, ReplicationStream, type TypeCatalog } from './replication/stream.ts';
import type { PreparedTable } from './replication/relation.ts';
import { readSlot } from './slot.ts';
import type { SourceParts } from './source.ts';
import { inspectTable, type CapturedTable } from './table.ts';
import type { TypeInfo } from './values.ts';

/** How often a slot that its last reader has not quite left is asked to move, and for how long. */
const ADVANCE_RETRY_MS = 20;
const ADVANCE_MAX_MS = 10_000;

/** What a stream is told of the capture that it is for. */
export interface Capturing {
  readonly state: CaptureState;
  readonly tables: readonly CapturedTable[];
  readonly onProven: (run: string) => Promise<void>;
}

/** The streams of one source, and where its acknowledgements go. */
export class Streaming {
  readonly #parts: SourceParts;
  readonly #heartbeat: () => Promise<void>;
  /** The one that streams now. There is at most one: a slot has one reader. */
  #stream: ReplicationStream | undefined;

  constructor(parts: SourceParts, heartbeat: () => Promise<void>) {
    this.#parts = parts;
    this.#heartbeat = heartbeat;
  }

  async *read(
    options: StreamOptions,
    { state, tables, onProven }: Capturing,
  ): AsyncGenerator<readonly SourceEntry[], void, undefined> {
    const { database, slot, publication, heartbeatBytes } = this.#parts;
    const stream = new ReplicationStream({
      target: database,
      slot,
      publication,
      tables: new Map(tables.map((table) => [table.oid, table])),
      types: this.#types(),
      describe: async (oid) => this.#describe(tables.find((table) => table.oid === oid)),
      // Once anything was acknowledged, the slot is where it was told to be; whoever has nothing of it any more
      // begins with what is still kept.
      consistentLsn: state.acknowledged ? Infinity : parseLsn(state.consistentPoint ?? '0/0'),
      acknowledgedLsn: 0,
      heartbeat: this.#heartbeat,
      heartbeatBytes,
      onProven,
    });
    this.#stream = stream;
    try {
      yield* stream.entries(options);
    } finally {
      if (this.#stream === stream) this.#stream = undefined;
    }
  }

  /**
   * Lets the server forget what starts before the last transaction of `cursor`; that one itself is kept, as the proof
   * of the history. With a stream the server is told by it, else the slot is moved. Throws HISTORY_LOST.
   */
  async acknowledge(cursor: SourceCursor, state: CaptureState): Promise<void> {
    if (cursor.token === '') return;
    const { database, slot } = this.#parts;
    const lsn = acknowledgedLsn(cursor.token);
    if (!state.acknowledged) {
      await this.#refuseBeyond(cursor);
      await markAcknowledged(database, slot);
      point('capture.after-mark-before-confirm');
    }
    if (this.#stream !== undefined) this.#stream.acknowledge(lsn);
    else await this.#advance(lsn);
  }

  async #advance(lsn: number): Promise<void> {
    const { database, slot } = this.#parts;
    const deadlineMs = database.clock.monotonicMs() + ADVANCE_MAX_MS;
    for (;;) {
      const found = await readSlot(database, slot);
      if (found === undefined || found.lost !== undefined)
        throw new TallyError('HISTORY_LOST', {
          what: `the slot '${slot}' ${found === undefined ? 'is not there' : `was given up by the server (${found.lost ?? ''})`}`,
          where: database.where,
          mend: 'take a new snapshot of the tables',
          details: { slot },
        });
      if (parseLsn(found.confirmed ?? '0/0') >= lsn) return;
      try {
        await database.query('SELECT pg_replication_slot_advance($1, $2::text::pg_lsn)', [
          slot,
          formatLsn(lsn),
        ]);
        return;
      } catch (error) {
        const busy = sqlState(error) === '55006' && database.clock.monotonicMs() < deadlineMs;
        if (!busy) throw error;
      }
      await database.clock.sleep(ADVANCE_RETRY_MS);
    }
  }

  /** A cursor of a server that was put back since. */
  async #refuseBeyond(cursor: SourceCursor): Promise<void> {
    const { database } = this.#parts;
    const rows = await database.query<{ lsn: string }>(
      'SELECT pg_current_wal_flush_lsn()::text AS lsn',
    );
    const end = parseLsn(rows[0]?.lsn ?? '0/0');
    if (end >= endLsn(cursor.offset)) return;
    throw new TallyError('HISTORY_LOST', {
      what: `offset ${cursor.offset} was acknowledged, but the write-ahead log ends at ${formatLsn(end)}`,
      where: database.where,
      mend: 'the server went back (a restore); take a new snapshot of its tables',
    });
  }

  #types(): TypeCatalog {
    const known = new Map<number, TypeInfo>();
    const { database } = this.#parts;
    return {
      get: (oid) => known.get(oid),
      load: async (oids) => {
        for (const [oid, info] of await readTypes(database, oids)) known.set(oid, info);
      },
    };
  }

  async #describe(table: CapturedTable | undefined): Promise<PreparedTable | undefined> {
    return table === undefined ? undefined : inspectTable(this.#parts.database, table.name);
  }
}
