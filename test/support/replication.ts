import { randomBytes } from 'node:crypto';
import { decodeRow } from '../../src/core/codec.ts';
import type { SourceCursor, SourceEntry } from '../../src/ports/source.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { literal, openDatabase, type Database } from '../../src/stores/postgres/database.ts';
import { readTypes } from '../../src/stores/postgres/source/catalog.ts';
import { endOffset, parseLsn } from '../../src/stores/postgres/source/lsn.ts';
import {
  ReplicationStream,
  type ReplicationParts,
} from '../../src/stores/postgres/source/replication/stream.ts';
import { inspectTables } from '../../src/stores/postgres/source/table.ts';
import type { TypeInfo } from '../../src/stores/postgres/source/values.ts';
import { freshDatabase, type DatabaseOptions, type FreshDatabase } from './servers.ts';

export type Change = Extract<SourceEntry, { kind: 'change' }>;
export type Commit = Extract<SourceEntry, { kind: 'commit' }>;

const WIDE: { readonly rowsMax: number; readonly bytesMax: number } = {
  rowsMax: 10_000,
  bytesMax: 64 * 2 ** 20,
};
const PATIENCE_MS = 15_000;

/** A database with a slot and a publication of its own, and streams of it that end where a test says. */
export class SlotBench implements AsyncDisposable {
  readonly database: Database;
  readonly url: string;
  readonly slot: string;
  readonly publication: string = 'tally pub"lication';
  readonly #fresh: FreshDatabase | undefined;
  #consistentLsn = 0;
  #heartbeats = 0;

  private constructor(database: Database, url: string, fresh: FreshDatabase | undefined) {
    this.database = database;
    this.url = url;
    this.#fresh = fresh;
    this.slot = `tally_${randomBytes(6).toString('hex')}`;
  }

  /** Makes the tables that `sql` creates, and a slot for those named. */
  static async open(
    tables: readonly string[],
    sql: string,
    options: DatabaseOptions & { readonly url?: string } = {},
  ): Promise<SlotBench> {
    const fresh = options.url === undefined ? await freshDatabase(options) : undefined;
    const url = options.url ?? fresh?.url ?? '';
    const context = { name: 'shop', clock: systemClock, random: systemRandom };
    const database = await openDatabase(context, { url });
    const bench = new SlotBench(database, url, fresh);
    await bench.sql(sql);
    await bench.publish(tables);
    await bench.makeSlot();
    return bench;
  }

  get heartbeats(): number {
    return this.#heartbeats;
  }

  get consistentLsn(): number {
    return this.#consistentLsn;
  }

  async publish(tables: readonly string[]): Promise<void> {
    // Without it, no row of a table with FULL identity and generated columns can be updated from 18 on.
    const generated =
      this.database.version >= 180_000 ? ', publish_generated_columns = stored' : '';
    await this.sql(
      `CREATE PUBLICATION "tally pub""lication" FOR TABLE ${tables.join(', ')}
       WITH (publish_via_partition_root = true${generated})`,
    );
  }

  async makeSlot(): Promise<void> {
    const [row] = await this.database.query(
      `SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')`,
      [this.slot],
    );
    this.#consistentLsn = parseLsn(String(row?.['lsn']));
  }

  /** Waits until the server has noticed that a reader went away. */
  async untilIdle(): Promise<void> {
    for (;;) {
      const rows = await this.database.query(
        `SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 AND active`,
        [this.slot],
      );
      if (rows.length === 0) return;
      await systemClock.sleep(10);
    }
  }

  async dropSlot(): Promise<void> {
    await this.untilIdle();
    await this.database.query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1`,
      [this.slot],
    );
  }

  /** Runs statements; several in one text are one transaction. */
  async sql(text: string): Promise<void> {
    await this.database.run(text);
  }

  /** The evidence of everything that is committed by now. */
  async head(): Promise<number> {
    const [row] = await this.database.query(`SELECT pg_current_wal_flush_lsn()::text AS lsn`);
    return endOffset(parseLsn(String(row?.['lsn'])));
  }

  async confirmedLsn(): Promise<number> {
    const [row] = await this.database.query(
      `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = ${literal(this.slot)}`,
    );
    return parseLsn(String(row?.['lsn']));
  }

  /** What a stream needs, as these tables are now. */
  async parts(
    tables: readonly string[],
    extra: Partial<ReplicationParts> = {},
  ): Promise<ReplicationParts> {
    const { database, slot, publication } = this;
    const found = await inspectTables(database, tables);
    const types = new Map<number, TypeInfo>();
    return {
      target: database,
      slot,
      publication,
      tables: new Map(found.map((table) => [table.oid, table])),
      types: {
        get: (oid) => types.get(oid),
        load: async (oids) => {
          for (const [oid, info] of await readTypes(database, oids)) types.set(oid, info);
        },
      },
      describe: async (oid) =>
        (await inspectTables(database, tables)).find((table) => table.oid === oid),
      consistentLsn: this.#consistentLsn,
      acknowledgedLsn: 0,
      heartbeat: async () => {
        this.#heartbeats++;
        await this.sql(`SELECT pg_logical_emit_message(true, 'tally', ${literal(slot)})`);
      },
      ...extra,
    };
  }

  /** Reads from `after` to the evidence `through` (everything committed by now, if not given). */
  async collect(
    tables: readonly string[],
    options: {
      readonly after?: SourceCursor | undefined;
      readonly through?: number;
      readonly rowsMax?: number;
      readonly bytesMax?: number;
      readonly parts?: Partial<ReplicationParts>;
      /** Ends it sooner. */
      readonly stopAt?: (batch: readonly SourceEntry[]) => boolean;
      readonly onBatch?: (batch: readonly SourceEntry[], stream: ReplicationStream) => unknown;
    } = {},
  ): Promise<readonly SourceEntry[]> {
    const through = options.through ?? (await this.mark());
    const stream = new ReplicationStream(await this.parts(tables, options.parts));
    const ending = new AbortController();
    const cancel = systemClock.after(PATIENCE_MS, () => ending.abort());
    const entries: SourceEntry[] = [];
    let reached = false;
    const { after, onBatch } = options;
    const bounds = { ...WIDE, ...options };
    try {
      for await (const batch of stream.entries({ ...bounds, after, signal: ending.signal })) {
        entries.push(...batch);
        await onBatch?.(batch, stream);
        reached =
          options.stopAt?.(batch) === true ||
          batch.some((entry) => entry.kind === 'commit' && entry.offset >= through);
        if (reached) break;
      }
    } finally {
      cancel();
    }
    if (!reached) throw new Error(`the stream did not come to ${through}`);
    return entries;
  }

  /** Commits a transaction without rows; the evidence of it and of everything before. */
  async mark(): Promise<number> {
    await this.sql(`SELECT pg_logical_emit_message(true, 'test', 'mark')`);
    return this.head();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#fresh === undefined) await this.dropSlot().catch(() => undefined);
    await this.database.close();
    await this.#fresh?.[Symbol.asyncDispose]();
  }
}

/** The changes among entries. */
export function changesOf(entries: readonly SourceEntry[]): readonly Change[] {
  return entries.filter((entry) => entry.kind === 'change');
}

/** The commits that have changes. */
export function commitsOf(entries: readonly SourceEntry[]): readonly Commit[] {
  return entries.filter((entry) => entry.kind === 'commit').filter(({ changes }) => changes > 0);
}

/** The tables to be read again, with the reason. */
export function rereadsOf(entries: readonly SourceEntry[]): readonly string[] {
  return entries.flatMap((entry) =>
    entry.kind === 'reread' ? [`${entry.table}: ${entry.why}`] : [],
  );
}

/** The place after a commit. */
export function cursorOf(commit: Commit | undefined): SourceCursor {
  if (commit === undefined) throw new Error('there is no such commit');
  return { offset: commit.offset, token: commit.token };
}

/** A change in few words: `update orders [1] {"id":1,"name":"b"}`. */
export function told({ operation, table, key, after }: Change): string {
  return `${operation} ${table} ${key}${after === null ? '' : ` ${JSON.stringify(decodeRow(after))}`}`;
}
