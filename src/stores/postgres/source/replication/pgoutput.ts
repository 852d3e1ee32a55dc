import { TallyError } from '../../../../core/errors.ts';
import { lsnOf } from '../lsn.ts';

/**
 * The messages of the output plugin pgoutput, protocol version 2 (postgresql.org/docs/current/protocol-logicalrep-
 * message-formats.html). Version 2 is what every server from 14 on speaks; 3 adds two-phase commit and 4 parallel
 * apply, neither of which a log of committed transactions has a use for.
 */

/** Microseconds from 1970 to 2000, where the server's clock begins. */
const EPOCH_MS = 946_684_800_000;

/** In {@link Tuple.starts}: the column is NULL. */
export const NULL = -1;
/** In {@link Tuple.starts}: a large value that did not change and was not sent. */
export const UNCHANGED = -2;

/** The columns of one row as places in the bytes of its message. Used again for the next row. */
export class Tuple {
  bytes: Buffer = Buffer.alloc(0);
  count = 0;
  /** Of the whole row, in its message. */
  size = 0;
  /** Where a column starts, or {@link NULL} or {@link UNCHANGED}. */
  starts: Int32Array = new Int32Array(64);
  ends: Int32Array = new Int32Array(64);

  /** Reads a tuple at `at`; the place behind it. */
  read(bytes: Buffer, at: number): number {
    this.bytes = bytes;
    this.count = bytes.readUInt16BE(at);
    if (this.count > this.starts.length) {
      this.starts = new Int32Array(2 * this.count);
      this.ends = new Int32Array(2 * this.count);
    }
    const { starts, ends } = this;
    let next = at + 2;
    for (let column = 0; column < this.count; column++) {
      const kind = bytes[next];
      if (kind === 0x74 /* t */) {
        const length = bytes.readInt32BE(next + 1);
        starts[column] = next + 5;
        next += 5 + length;
        ends[column] = next;
      } else {
        if (kind !== 0x6e /* n */ && kind !== 0x75 /* u */)
          throw corrupt(`a column of kind ${String(kind)}`);
        starts[column] = kind === 0x6e ? NULL : UNCHANGED;
        next++;
      }
    }
    this.size = next - at;
    return next;
  }
}

/** A table as the server describes it before its first change, and again after it was altered. */
export interface RelationMessage {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** The replica identity: default, nothing, full, or an index. */
  readonly identity: 'd' | 'n' | 'f' | 'i';
  readonly columns: readonly {
    readonly name: string;
    readonly type: number;
    /** Part of the replica identity; with FULL, every column is. */
    readonly identifies: boolean;
  }[];
}

/** What commits: where its commit record starts (S) and ends (E), and what proves that it is the same again. */
export interface Committing {
  readonly startLsn: number;
  readonly endLsn: number;
  readonly xid: number;
  /** The server's own count: microseconds since 2000. */
  readonly commitMicros: number;
}

/** How much of the row before was sent: nothing, the identity's columns (`K`), or all (`O`). */
export type Before = 'none' | 'key' | 'full';

/** Is told each message. Tuples are valid until the call returns. */
export interface MessageHandler {
  begin(startLsn: number, xid: number, commitMicros: number): void;
  commit(startLsn: number, endLsn: number): void;
  relation(relation: RelationMessage): void;
  insert(oid: number, after: Tuple): void;
  update(oid: number, kind: Before, before: Tuple, after: Tuple): void;
  delete(oid: number, kind: Before, before: Tuple): void;
  truncate(oids: readonly number[]): void;
  /** A message (pg_logical_emit_message), by what it begins with; its content is read only if it is asked for. */
  message(prefix: string, content: () => string): void;
  streamStart(xid: number): void;
  streamStop(): void;
  streamCommit(committing: Committing): void;
  streamAbort(xid: number, subXid: number): void;
}

/** Milliseconds since 1970 of the server's microseconds since 2000. */
export function commitMs(commitMicros: number): number {
  return EPOCH_MS + Math.floor(commitMicros / 1000);
}

/** A 64-bit count of microseconds; exact for as long as doubles are, which is until 2255. */
export function readMicros(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

/** A place in the write-ahead log. */
export function readLsn(bytes: Buffer, at: number): number {
  return lsnOf(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4));
}

/** Reads messages and tells a handler. */
export class PgOutputDecoder {
  readonly #handler: MessageHandler;
  readonly #before = new Tuple();
  readonly #after = new Tuple();

  constructor(handler: MessageHandler) {
    this.#handler = handler;
  }

  /**
   * Reads one message, which stands alone from `start` to `end`. Within a block of a transaction in progress
   * (`in-progress`) changes carry the id of their (sub-)transaction behind the letter. Throws STORE_CORRUPT for what
   * it does not know: a message that is skipped is a change that is lost.
   */
  decode(bytes: Buffer, start: number, end: number, from: 'committed' | 'in-progress'): void {
    const type = bytes[start] as number;
    const at = start + (from === 'in-progress' && carriesXid(type) ? 5 : 1);
    let next: number;
    try {
      next = this.#decode(type, bytes, at, end);
    } catch (error) {
      if (!isBeyond(error)) throw error;
      next = Infinity;
    }
    if (next > end) throw corrupt(`a message '${String.fromCharCode(type)}' that is cut off`);
  }

  /** The place behind the message, as far as it was read. */
  #decode(type: number, bytes: Buffer, at: number, end: number): number {
    const handler = this.#handler;
    switch (type) {
      case 0x49: /* I */ {
        const next = this.#after.read(bytes, at + 5);
        handler.insert(bytes.readUInt32BE(at), this.#after);
        return next;
      }
      case 0x55 /* U */:
        return this.#update(bytes, at);
      case 0x44: /* D */ {
        const next = this.#before.read(bytes, at + 5);
        handler.delete(bytes.readUInt32BE(at), beforeOf(bytes[at + 4]), this.#before);
        return next;
      }
      case 0x42 /* B */:
        handler.begin(readLsn(bytes, at), bytes.readUInt32BE(at + 16), readMicros(bytes, at + 8));
        return at + 20;
      case 0x43 /* C */:
        handler.commit(readLsn(bytes, at + 1), readLsn(bytes, at + 9));
        return at + 25;
      case 0x52 /* R */:
        return this.#relation(bytes, at);
      case 0x54 /* T */:
        return this.#truncate(bytes, at);
      case 0x53 /* S */:
        handler.streamStart(bytes.readUInt32BE(at));
        return at + 5;
      case 0x45 /* E */:
        handler.streamStop();
        return at;
      case 0x63 /* c */:
        handler.streamCommit({
          xid: bytes.readUInt32BE(at),
          startLsn: readLsn(bytes, at + 5),
          endLsn: readLsn(bytes, at + 13),
          commitMicros: readMicros(bytes, at + 21),
        });
        return at + 29;
      case 0x41 /* A */:
        handler.streamAbort(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4));
        return at + 8;
      case 0x4d /* M */:
        return this.#message(bytes, at);
      case 0x4f: /* O: where a replicated transaction came from; its rows are here all the same */
      case 0x59 /* Y: the name of a type; what a type is made of is asked of the catalog */:
        return end;
      default:
        throw corrupt(`a message '${String.fromCharCode(type)}' (${type})`);
    }
  }

  #update(bytes: Buffer, at: number): number {
    const oid = bytes.readUInt32BE(at);
    let next = at + 4;
    let kind: Before = 'none';
    if (bytes[next] !== 0x4e /* N */) {
      kind = beforeOf(bytes[next]);
      next = this.#before.read(bytes, next + 1);
    }
    if (bytes[next] !== 0x4e) throw corrupt(`an update without the row after`);
    next = this.#after.read(bytes, next + 1);
    this.#handler.update(oid, kind, this.#before, this.#after);
    return next;
  }

  #truncate(bytes: Buffer, at: number): number {
    const count = bytes.readUInt32BE(at);
    const oids = Array.from({ length: count }, (_, index) =>
      bytes.readUInt32BE(at + 5 + 4 * index),
    );
    this.#handler.truncate(oids);
    return at + 5 + 4 * count;
  }

  #message(bytes: Buffer, at: number): number {
    const prefixEnd = endOfText(bytes, at + 9);
    const from = prefixEnd + 5;
    const next = from + bytes.readUInt32BE(prefixEnd + 1);
    const prefix = bytes.toString('utf8', at + 9, prefixEnd);
    this.#handler.message(prefix, () => bytes.toString('utf8', from, next));
    return next;
  }

  #relation(bytes: Buffer, at: number): number {
    const schemaEnd = endOfText(bytes, at + 4);
    const nameEnd = endOfText(bytes, schemaEnd + 1);
    const identity = String.fromCharCode(bytes[nameEnd + 1] as number);
    if (!isIdentity(identity)) throw corrupt(`the replica identity '${identity}'`);
    let next = nameEnd + 4;
    const columns = Array.from({ length: bytes.readUInt16BE(nameEnd + 2) }, () => {
      const end = endOfText(bytes, next + 1);
      const name = bytes.toString('utf8', next + 1, end);
      const identifies = (bytes.readUInt8(next) & 1) === 1;
      next = end + 9;
      return { name, type: bytes.readUInt32BE(end + 1), identifies };
    });
    this.#handler.relation({
      oid: bytes.readUInt32BE(at),
      // An empty one stands for pg_catalog.
      schema: bytes.toString('utf8', at + 4, schemaEnd) || 'pg_catalog',
      name: bytes.toString('utf8', schemaEnd + 1, nameEnd),
      identity,
      columns,
    });
    return next;
  }
}

/** Whether a read went past the end of the bytes; other errors of range come from values. */
function isBeyond(error: unknown): boolean {
  if (!(error instanceof RangeError) || !('code' in error)) return false;
  return error.code === 'ERR_OUT_OF_RANGE' || error.code === 'ERR_BUFFER_OUT_OF_BOUNDS';
}

function endOfText(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(0, at);
  if (end < 0) throw corrupt('a name that is cut off');
  return end;
}

function carriesXid(type: number): boolean {
  // I, U, D, T, R, Y, M
  return 'IUDTRYM'.includes(String.fromCharCode(type));
}

function beforeOf(kind: number | undefined): Before {
  if (kind === 0x4f /* O */) return 'full';
  if (kind === 0x4b /* K */) return 'key';
  throw corrupt(`a row before of kind ${String(kind)}`);
}

function isIdentity(letter: string): letter is RelationMessage['identity'] {
  return ['d', 'n', 'f', 'i'].includes(letter);
}

function corrupt(what: string): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what: `the server sent ${what}, which this version does not know`,
    mend: 'nothing was skipped; upgrade Tallystick, or report the version of the server',
  });
}
