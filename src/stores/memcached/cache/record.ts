import { TallyError } from '../../../core/errors.ts';

/**
 * A place in the history of a cache's invalidations. `generation` is drawn by chance when the count begins, or begins again
 * because everything was invalidated or Memcached has forgotten it: what was born in another generation is invalid.
 */
export interface Stamp {
  readonly generation: number;
  readonly count: number;
}

/** An entry. Its times are whole seconds from now, by the clock of Memcached. */
export interface RecordEntry {
  readonly payload: string | Buffer;
  readonly note: string;
  readonly ageS: number;
  readonly freshForS: number;
  readonly keepForS: number;
  readonly loadMs: number;
  readonly tags: readonly string[];
  /** From before the value was loaded: an invalidation after it makes the entry invalid. */
  readonly born: Stamp;
}

/** All that is known of one key, in one item, so that each change of it is one compare-and-set. */
export interface KeyRecord {
  readonly entry?: RecordEntry;
  /** Who loads. One that was granted in another generation is void. */
  readonly lease?: { readonly id: string; readonly forS: number; readonly generation: number };
  /** No lease is granted for so long. */
  readonly barredForS?: number;
  /** A load failed: none is tried for so long. */
  readonly failure?: { readonly reason: string; readonly forS: number };
}

/** A record as an item: its bytes and its time to live. */
export interface RecordItem {
  readonly value: string | Buffer;
  readonly ttlS: number;
}

type EntryHead = readonly [
  generation: number,
  count: number,
  storedMark: number,
  freshMark: number,
  keepMark: number,
  loadMs: number,
  note: string,
  tags: readonly string[],
];
type Head = readonly [
  entry: EntryHead | 0,
  lease: readonly [id: string, mark: number, generation: number] | 0,
  barMark: number,
  failure: readonly [reason: string, mark: number] | 0,
];

const LINE_FEED = 10;
/** Marks that no item reaches: what is not there. */
const NO_MARK = -1;

/**
 * Writes a record. Memcached tells the time in one way only: how many seconds an item has left. So a moment is written as
 * what the item will have left then: a lease of 5 s in an item of 100 s stands while more than 95 s are left. No clock of
 * ours is in it.
 */
export function encodeRecord(record: KeyRecord): RecordItem {
  const { entry, lease, barredForS = 0, failure } = record;
  const ttlS = Math.max(entry?.keepForS ?? 0, lease?.forS ?? 0, barredForS, failure?.forS ?? 0, 1);
  const head: Head = [
    entry === undefined
      ? 0
      : [
          entry.born.generation,
          entry.born.count,
          ttlS + entry.ageS,
          ttlS - entry.freshForS,
          ttlS - entry.keepForS,
          entry.loadMs,
          entry.note,
          entry.tags,
        ],
    lease === undefined ? 0 : [lease.id, ttlS - lease.forS, lease.generation],
    barredForS > 0 ? ttlS - barredForS : NO_MARK,
    failure === undefined ? 0 : [failure.reason, ttlS - failure.forS],
  ];
  const line = `${JSON.stringify(head)}\n`;
  const payload = entry?.payload ?? '';
  const value =
    typeof payload === 'string' ? line + payload : Buffer.concat([Buffer.from(line), payload]);
  return { value, ttlS };
}

/**
 * Reads a record of an item that has `leftS` seconds left; undefined for an item without a value, which is a lease that
 * was just granted. What is over is left out. `isStale`: it was marked so, and only its entry counts. Throws
 * VALUE_UNSUPPORTED for what somebody else has written.
 */
export function decodeRecord(
  value: Buffer,
  leftS: number,
  payload: 'text' | 'bytes',
  isStale: boolean,
): KeyRecord | undefined {
  if (value.length === 0) return undefined;
  const end = value.indexOf(LINE_FEED);
  const [entry, lease, barMark, failure] = headIn(value, end);
  const record: { -readonly [Member in keyof KeyRecord]: KeyRecord[Member] } = {};
  if (entry !== 0 && leftS > entry[4]) {
    const [generation, count, storedMark, freshMark, keepMark, loadMs, note, tags] = entry;
    record.entry = {
      payload: payload === 'text' ? value.toString('utf8', end + 1) : value.subarray(end + 1),
      note,
      ageS: storedMark - leftS,
      freshForS: isStale ? 0 : leftS - freshMark,
      keepForS: leftS - keepMark,
      loadMs,
      tags,
      born: { generation, count },
    };
  }
  if (isStale) return record;
  if (lease !== 0 && leftS > lease[1])
    record.lease = { id: lease[0], forS: leftS - lease[1], generation: lease[2] };
  if (barMark !== NO_MARK && leftS > barMark) record.barredForS = leftS - barMark;
  if (failure !== 0 && leftS > failure[1])
    record.failure = { reason: failure[0], forS: leftS - failure[1] };
  return record;
}

function headIn(value: Buffer, end: number): Head {
  try {
    const head: unknown = JSON.parse(value.toString('utf8', 0, end === -1 ? 0 : end));
    if (Array.isArray(head) && head.length === 4) return head as unknown as Head;
  } catch {
    // Said below.
  }
  throw new TallyError('VALUE_UNSUPPORTED', {
    what: 'an item under the name of a cached key cannot be read',
    mend: 'look for what wrote it other than Tallystick; invalidating the key removes it',
  });
}
