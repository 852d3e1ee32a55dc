import { unreachable } from '../../../core/errors.ts';
import type { CacheAsk, LeaseAnswer, OpenCacheOptions } from '../../../ports/cache.ts';
import { numberFlag, type MetaReply } from '../wire/reply.ts';
import type { Wish } from './decide.ts';
import type { SeenLease } from './lookout.ts';
import { decodeRecord, type KeyRecord } from './record.ts';

/** What Memcached holds of one key. */
export interface Seen {
  readonly key: string;
  readonly name: string;
  /** Undefined: nothing. */
  readonly version: number | undefined;
  readonly leftS: number;
  /** `new`: just made for us; `unnamed`: for somebody else. */
  readonly state: 'absent' | 'new' | 'unnamed' | 'known';
  readonly record: KeyRecord;
}

const NO_LEASE: LeaseAnswer = { kind: 'none' };

/** Reads an answer to `mg` with its value, version and time to live. */
export function seenOf(
  key: string,
  name: string,
  reply: MetaReply,
  { payload }: OpenCacheOptions,
): Seen {
  const version = numberFlag(reply, 'c');
  const leftS = numberFlag(reply, 't') ?? 0;
  if (reply.value === undefined)
    return { key, name, version: undefined, leftS, state: 'absent', record: {} };
  const isStale = reply.flags.includes('X');
  const record = decodeRecord(reply.value, leftS, payload, isStale);
  if (record !== undefined || isStale)
    return { key, name, version, leftS, state: 'known', record: record ?? {} };
  const state = reply.flags.includes('W') ? 'new' : 'unnamed';
  return { key, name, version, leftS, state, record: {} };
}

/** What somebody who asks is told of the lease, where none is taken. */
export function leaseAnswer(seen: Seen, wish: Wish): LeaseAnswer {
  switch (wish.kind) {
    case 'held':
      return heldBy(seen, wish.id);
    case 'failed':
    case 'barred':
      return wish;
    case 'take':
    case 'none':
      return NO_LEASE;
    default:
      return unreachable(wish);
  }
}

/** What is told of an item that somebody has just made, and not yet put a name to. */
export function unnamedLease(seen: Seen, ask: CacheAsk): LeaseAnswer {
  return ask.lease === 'none' ? NO_LEASE : heldBy(seen, '');
}

/** The name of somebody else's lease says what to look at while it is waited for. */
function heldBy({ name, version, leftS, record }: Seen, id: string): LeaseAnswer {
  const mark = record.lease === undefined ? 0 : leftS - record.lease.forS;
  return { kind: 'held', lease: `${version} ${mark} ${id} ${name}` };
}

/** The lease behind the name that {@link leaseAnswer} gave it; undefined for one of the tier's own. */
export function seenIn(lease: string): SeenLease | undefined {
  const [, version, mark, id = '', name = ''] = /^(\d+) (\d+) (\S*) (.*)$/s.exec(lease) ?? [];
  return version === undefined
    ? undefined
    : { name, version: Number(version), id, mark: Number(mark) };
}
