import type { SourceEntry } from '../../../../ports/source.ts';
import { endOffset, startOffset } from '../lsn.ts';
import type { TypeResolver } from '../values.ts';
import { Batches } from './batches.ts';
import {
  commitMs,
  type Before,
  type Committing,
  type MessageHandler,
  type RelationMessage,
  type Tuple,
} from './pgoutput.ts';
import { tokenOf, type Proof } from './proof.ts';
import { RelationEncoder, type PreparedTable } from './relation.ts';
import { CanonicalWriter } from './writer.ts';

/** What becomes of a relation's changes. */
type Reading =
  | { readonly kind: 'ignored' }
  | { readonly kind: 'rows'; readonly encoder: RelationEncoder }
  /** Its rows cannot be told; flows take a snapshot instead. */
  | { readonly kind: 'reread'; readonly table: PreparedTable; readonly why: string };

const ignored: Reading = { kind: 'ignored' };

/** What the message that has a table read again begins with; behind it, the slot. Its content is the table's name. */
export const REREAD_PREFIX = 'tally.reread/';

/**
 * A row (with what it was before) that is not told, because its record would be too long to be a text. Its table is
 * read again instead: the flows that read it meet the row there and stop at it by name, and the lane goes on.
 */
const CHANGE_BYTES_MAX = 256 * 2 ** 20;
const CHANGE_CHARACTERS_MAX = 400 * 2 ** 20;

export interface AssemblerOptions {
  /** The slot that is read: messages for others are not ours. */
  readonly slot: string;
  readonly tables: ReadonlyMap<number, PreparedTable>;
  readonly types: TypeResolver;
  /** Whether the server vouches for the encoding of its texts. */
  readonly validated: boolean;
  readonly proof: Proof | undefined;
  /** Where the stream goes on: the last commit and its token, if there was one. */
  readonly lastOffset: number;
  readonly token: string | undefined;
  readonly rowsMax: number;
  readonly bytesMax: number;
  /** Bytes of the longest change that is told; for tests. */
  readonly changeBytesMax?: number | undefined;
}

/** Puts the entries of a source together from the messages of the output plugin. No I/O. */
export class Assembler implements MessageHandler {
  readonly batches: Batches;
  /** A relation was described; {@link resolve} it before the next message. */
  described: RelationMessage | undefined;
  /** A transaction in progress was committed; its messages are to be played now. */
  toReplay: Committing | undefined;
  /** The transaction in progress whose block is being sent. */
  block: number | undefined;
  /** One that was rolled back, in whole (`subXid` is `xid`) or in part. */
  aborted: { readonly xid: number; readonly subXid: number } | undefined;
  readonly #tables: Map<number, PreparedTable>;
  readonly #options: AssemblerOptions;
  readonly #writer: CanonicalWriter;
  readonly #readings = new Map<number, Reading>();
  /** Replica identities of partitions that do not log whole rows, see RelationEncoder.isNarrow. */
  readonly #narrow = new Map<number, ReadonlySet<string>>();
  #open: Committing | undefined;
  #skipping = false;
  #changes = 0;
  readonly #reread = new Set<string>();
  #lastOffset: number;
  #token: string | undefined;
  #marker: { readonly offset: number; readonly atMs: number } | undefined;

  constructor(options: AssemblerOptions) {
    this.#options = options;
    this.#tables = new Map(options.tables);
    this.#writer = new CanonicalWriter({ validated: options.validated });
    this.#lastOffset = options.lastOffset;
    this.#token = options.token;
    this.batches = new Batches(options);
  }

  /** Whether a position without changes waits to be told. */
  get hasMarker(): boolean {
    return this.#marker !== undefined;
  }

  begin(startLsn: number, xid: number, commitMicros: number): void {
    this.start({ startLsn, endLsn: startLsn, xid, commitMicros });
  }

  /** Begins a transaction; whether its changes are wanted. */
  start(committing: Committing): boolean {
    const { proof } = this.#options;
    this.#open = committing;
    this.#changes = 0;
    this.#reread.clear();
    this.#skipping = proof !== undefined && !proof.isNew(committing);
    return !this.#skipping;
  }

  commit(_startLsn: number, endLsn: number): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined || this.#skipping) return;
    this.#token = tokenOf(open);
    this.#lastOffset = endOffset(endLsn);
    this.#marker = undefined;
    this.batches.push({
      kind: 'commit',
      offset: this.#lastOffset,
      changes: this.#changes,
      committedAtMs: commitMs(open.commitMicros),
      token: this.#token,
    });
  }

  /** The server has sent everything that ends before `walEnd`; `atMs` is its own time. */
  keepalive(walEnd: number, atMs: number): void {
    if (this.#open !== undefined || this.block !== undefined) return;
    this.#options.proof?.passed(walEnd);
    const offset = endOffset(walEnd);
    // Without a token nothing could be proved by the marker, so there is none before the first transaction.
    if (offset > this.#lastOffset && this.#token !== undefined) this.#marker = { offset, atMs };
  }

  /** Adds the newest position without changes behind everything else. */
  mark(): void {
    const marker = this.#marker;
    if (marker === undefined || this.#token === undefined) return;
    this.#marker = undefined;
    this.#lastOffset = marker.offset;
    this.batches.push({
      kind: 'commit',
      offset: marker.offset,
      changes: 0,
      committedAtMs: marker.atMs,
      token: this.#token,
    });
  }

  relation(relation: RelationMessage): void {
    this.#readings.delete(relation.oid);
    this.described = relation;
    if (this.#tables.has(relation.oid)) return;
    if (relation.identity === 'f') this.#narrow.delete(relation.oid);
    else this.#narrow.set(relation.oid, identityOf(relation));
  }

  /** The table that a relation is read as; undefined if flows do not read it. */
  tableOf(relation: RelationMessage): PreparedTable | undefined {
    return this.#tables.get(relation.oid);
  }

  /** Makes ready for the changes of the relation that was described, as `table` if it was prepared again. */
  resolve(relation: RelationMessage, table: PreparedTable | undefined): void {
    this.described = undefined;
    if (table !== undefined) this.#tables.set(relation.oid, table);
    this.#readings.set(relation.oid, this.#readingOf(relation));
  }

  insert(oid: number, after: Tuple): void {
    const reading = this.#readingFor(oid);
    if (reading.kind !== 'rows') return;
    const { encoder } = reading;
    if (this.#isTooLarge(encoder, after.size)) return;
    const key = encoder.key(this.#writer, after);
    const image = encoder.image(this.#writer, after);
    if (key === undefined || image === undefined)
      this.#readAgain(encoder.table, 'a row arrived in part');
    else this.#change(encoder, 'create', key, null, image);
  }

  update(oid: number, kind: Before, before: Tuple, after: Tuple): void {
    const reading = this.#readingFor(oid);
    if (reading.kind !== 'rows') return;
    const { encoder } = reading;
    if (!this.#isWhole(encoder, kind, before)) return;
    if (this.#isTooLarge(encoder, before.size + after.size)) return;
    const beforeKey = encoder.key(this.#writer, before);
    const beforeImage = encoder.image(this.#writer, before);
    const afterImage = encoder.image(this.#writer, after, before);
    if (beforeKey === undefined || beforeImage === undefined || afterImage === undefined) {
      this.#readAgain(encoder.table, 'a large value that did not change was not logged');
      return;
    }
    if (encoder.sameKey(before, after)) {
      this.#change(encoder, 'update', beforeKey, beforeImage, afterImage);
      return;
    }
    const afterKey = encoder.key(this.#writer, after, before) ?? beforeKey;
    this.#change(encoder, 'delete', beforeKey, beforeImage, null);
    this.#change(encoder, 'create', afterKey, null, afterImage);
  }

  delete(oid: number, kind: Before, before: Tuple): void {
    const reading = this.#readingFor(oid);
    if (reading.kind !== 'rows') return;
    const { encoder } = reading;
    if (!this.#isWhole(encoder, kind, before)) return;
    if (this.#isTooLarge(encoder, before.size)) return;
    const key = encoder.key(this.#writer, before);
    const image = encoder.image(this.#writer, before);
    if (key === undefined || image === undefined)
      this.#readAgain(encoder.table, 'a row before arrived in part');
    else this.#change(encoder, 'delete', key, image, null);
  }

  truncate(oids: readonly number[]): void {
    for (const oid of oids) {
      const table = this.#tables.get(oid);
      if (table !== undefined) this.#readAgain(table, 'TRUNCATE');
    }
  }

  streamStart(xid: number): void {
    this.block = xid;
  }

  streamStop(): void {
    this.block = undefined;
  }

  streamCommit(committing: Committing): void {
    this.toReplay = committing;
  }

  message(prefix: string, content: () => string): void {
    if (prefix !== `${REREAD_PREFIX}${this.#options.slot}`) return;
    const name = content();
    const table = [...this.#tables.values()].find((one) => one.name === name);
    if (table !== undefined) this.#readAgain(table, 'it was not published for a while');
  }

  streamAbort(xid: number, subXid: number): void {
    this.aborted = { xid, subXid };
  }

  #readingOf(relation: RelationMessage): Reading {
    const table = this.#tables.get(relation.oid);
    if (table === undefined) {
      const former = [...this.#tables.values()].find(
        ({ schema, relation: name }) => schema === relation.schema && name === relation.name,
      );
      if (former === undefined) return ignored;
      return { kind: 'reread', table: former, why: 'it was dropped and made again' };
    }
    const encoder = new RelationEncoder(relation, table, this.#options.types);
    if (encoder.missing.length === 0) return { kind: 'rows', encoder };
    const why = `its key (${table.key.join(', ')}) was another one then`;
    return { kind: 'reread', table, why };
  }

  #readingFor(oid: number): Reading {
    if (this.#skipping) return ignored;
    const reading = this.#readings.get(oid) ?? ignored;
    if (reading.kind === 'reread') this.#readAgain(reading.table, reading.why);
    return reading;
  }

  /** Whether the row before is all there; if not, the table is to be read again. */
  #isWhole(encoder: RelationEncoder, kind: Before, before: Tuple): boolean {
    if (kind === 'full') {
      if (encoder.table.partitioned !== true || this.#narrow.size === 0) return true;
      const isNarrow = [...this.#narrow.values()].some((names) => encoder.isNarrow(before, names));
      if (!isNarrow) return true;
    }
    this.#readAgain(
      encoder.table,
      'what a row was before was not logged: its REPLICA IDENTITY is not FULL',
    );
    return false;
  }

  #change(
    encoder: RelationEncoder,
    operation: 'create' | 'update' | 'delete',
    key: string,
    before: string | null,
    after: string | null,
  ): void {
    const { name } = encoder.table;
    const characters = key.length + (before?.length ?? 0) + (after?.length ?? 0);
    if (characters > CHANGE_CHARACTERS_MAX) {
      this.#readAgain(
        encoder.table,
        `a change of ${characters} characters is too long for a record`,
      );
      return;
    }
    this.#push({ kind: 'change', ...this.#place(), table: name, operation, key, before, after });
  }

  #isTooLarge(encoder: RelationEncoder, bytes: number): boolean {
    if (bytes <= (this.#options.changeBytesMax ?? CHANGE_BYTES_MAX)) return false;
    this.#readAgain(encoder.table, `a change of ${bytes} bytes is too long for a record`);
    return true;
  }

  /** Once for each table and transaction. */
  #readAgain(table: PreparedTable, why: string): void {
    if (this.#skipping || this.#reread.has(table.name)) return;
    this.#reread.add(table.name);
    this.#push({ kind: 'reread', ...this.#place(), table: table.name, why });
  }

  #place(): { readonly offset: number; readonly ordinal: number } {
    return { offset: startOffset(this.#open?.startLsn ?? 0), ordinal: this.#changes++ };
  }

  #push(entry: SourceEntry): void {
    this.batches.push(entry);
  }
}

function identityOf(relation: RelationMessage): ReadonlySet<string> {
  return new Set(relation.columns.flatMap(({ name, identifies }) => (identifies ? [name] : [])));
}
