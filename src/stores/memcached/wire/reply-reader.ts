import { TallyError } from '../../../core/errors.ts';
import type { MetaStatus, Reply } from './reply.ts';

/** A key of 250 bytes, percent-encoded as a dump shows it, with its measures; nothing that Memcached says is longer. */
const LINE_BYTES_MAX = 4_096;
/** The largest item that `-I` can be set to is 1 GiB; ours end far below. */
const VALUE_BYTES_MAX = 128 * 1024 * 1024;

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

const statuses: ReadonlySet<string> = new Set(['HD', 'EN', 'NF', 'NS', 'EX', 'MN']);

/**
 * Takes bytes as they come and gives whole replies, in order. It holds one reply's bytes at most, besides the chunk that
 * brought its end. Throws STORE_CORRUPT for what no Memcached says; then the connection is of no more use.
 */
export class ReplyReader {
  #chunks: Buffer[] = [];
  #held = 0;
  /** Where the next reply begins in the first chunk. */
  #at = 0;
  /** Bytes from there without which it is not worth looking: a large value is joined once, not with each chunk. */
  #needed = 1;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
  }

  /** The next whole reply, or undefined: more bytes have to come first. */
  next(): Reply | undefined {
    if (this.#held < this.#needed) return undefined;
    const buffer = this.#joined();
    const end = buffer.indexOf(LINE_FEED, this.#at);
    if (end === -1 || end - this.#at > LINE_BYTES_MAX) {
      if (this.#held > LINE_BYTES_MAX) throw corrupt('a line without an end');
      this.#needed = this.#held + 1;
      return undefined;
    }
    const stop = buffer[end - 1] === CARRIAGE_RETURN && end > this.#at ? end - 1 : end;
    const line = buffer.toString('latin1', this.#at, stop);
    if (line.startsWith('VA ')) return this.#value(buffer, line, end + 1);
    this.#consume(end + 1);
    const status = line.slice(0, 2);
    if (statuses.has(status) && (line.length === 2 || line[2] === ' '))
      return {
        kind: 'meta',
        status: status as MetaStatus,
        value: undefined,
        flags: line.length < 4 ? none : words(line.slice(3)),
      };
    const isError = /^(ERROR$|CLIENT_ERROR |SERVER_ERROR )/.test(line);
    return { kind: isError ? 'error' : 'line', text: line };
  }

  #value(buffer: Buffer, line: string, from: number): Reply | undefined {
    const [, digits, flags = ''] = /^VA (\d{1,10})((?: .*)?)$/.exec(line) ?? [];
    const size = Number(digits ?? Number.NaN);
    if (!(size <= VALUE_BYTES_MAX)) throw corrupt(`a value of ${digits ?? 'no'} bytes`);
    const to = from + size;
    if (this.#held < to + 2 - this.#at) {
      this.#needed = to + 2 - this.#at;
      return undefined;
    }
    if (buffer[to] !== CARRIAGE_RETURN || buffer[to + 1] !== LINE_FEED)
      throw corrupt('a value that does not end where it said');
    // A copy: a view would hold the whole chunk for as long as somebody keeps the value.
    const value = Buffer.from(buffer.subarray(from, to));
    this.#consume(to + 2);
    return { kind: 'meta', status: 'VA', value, flags: flags === '' ? none : words(flags) };
  }

  #consume(to: number): void {
    this.#held -= to - this.#at;
    this.#at = to;
    this.#needed = 1;
    if (this.#held === 0) {
      this.#chunks = [];
      this.#at = 0;
    }
  }

  #joined(): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && this.#chunks.length === 1) return first;
    const joined = Buffer.concat(this.#chunks).subarray(this.#at);
    this.#chunks = [joined];
    this.#at = 0;
    return joined;
  }
}

const none: readonly string[] = [];

function words(text: string): readonly string[] {
  return text.split(' ').filter((word) => word !== '');
}

function corrupt(what: string): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what: `the answer of Memcached cannot be read: ${what}`,
    mend: 'check that the address is that of a Memcached 1.6, and what stands between',
  });
}
