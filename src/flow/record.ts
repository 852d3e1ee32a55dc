import type { Change, Operation } from '../core/change.ts';
import { decodeValue } from '../core/codec.ts';
import { TallyError } from '../core/errors.ts';
import type { Key, Row } from '../core/row.ts';
import type { ChangePayload, CommitPayload, LogRecord } from '../ports/log.ts';
import type { SourceEntry } from '../ports/source.ts';

const letterOf = { create: 'c', update: 'u', delete: 'd' } as const;
const operationOf: Readonly<Record<Exclude<ChangePayload['o'], 'x'>, Operation>> = {
  c: 'create',
  u: 'update',
  d: 'delete',
};

/** The log record of what a source yielded. Row images go through as text, not decoded. */
export function recordOf(entry: SourceEntry, epoch: number): LogRecord {
  if (entry.kind === 'commit') {
    const payload: CommitPayload = { n: entry.changes, at: entry.committedAtMs, tok: entry.token };
    return {
      kind: 'commit',
      epoch,
      offset: entry.offset,
      ordinal: entry.changes,
      payload: JSON.stringify(payload),
    };
  }
  if (entry.kind === 'reread') {
    const { offset, ordinal, table, why } = entry;
    const payload = `${rereadPrefix(table)}"k":[],"b":null,"a":null,"why":${JSON.stringify(why)}}`;
    return { kind: 'change', epoch, offset, ordinal, payload };
  }
  const payload =
    `${tablePrefix(entry.table)}"o":"${letterOf[entry.operation]}",` +
    `"k":${entry.key},"b":${entry.before ?? 'null'},"a":${entry.after ?? 'null'}}`;
  return { kind: 'change', epoch, offset: entry.offset, ordinal: entry.ordinal, payload };
}

/** What the payload of each record of a table begins with: it tells whose record this is, undecoded. */
export function tablePrefix(table: string): string {
  return `{"t":${JSON.stringify(table)},`;
}

/** What the payload begins with that says that a table has to be read again. */
export function rereadPrefix(table: string): string {
  return `${tablePrefix(table)}"o":"x",`;
}

/** The change behind a log record. Throws STORE_CORRUPT if the record is not one. */
export function changeOf(record: LogRecord, lane: string): Change {
  const payload = decodeValue(record.payload) as unknown as ChangePayload;
  const operation = payload?.o === 'x' ? undefined : operationOf[payload?.o];
  if (operation === undefined || typeof payload.t !== 'string' || !Array.isArray(payload.k))
    throw new TallyError('STORE_CORRUPT', {
      what: 'a log record is not a change',
      where: `${lane} at ${record.epoch}.${record.offset}.${record.ordinal}`,
      mend: 'rebuild the flows of this lane from the source',
    });
  return {
    lane,
    epoch: record.epoch,
    offset: record.offset,
    ordinal: record.ordinal,
    table: payload.t,
    operation,
    key: payload.k as Key,
    before: payload.b as Row | null,
    after: payload.a as Row | null,
  };
}

/** What a commit record says: number of changes, time, token. */
export function commitOf(record: LogRecord): CommitPayload {
  return JSON.parse(record.payload) as CommitPayload;
}
