import { TallyError } from '../../../core/errors.ts';

export function fencedOut(where: string, epoch: number, holder: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `the log was opened for appending under epoch ${holder}, after ${epoch}; the newer appender owns it`,
    where,
    mend: 'stop this worker, and let it take the lease anew before it appends',
    details: { epoch, holder },
  });
}

export function logFull(where: string, bytesMax: number, bytes: number): TallyError {
  return new TallyError('LOG_FULL', {
    what: `the log holds ${bytes} of ${bytesMax} bytes and may not drop what is still needed`,
    where,
    mend: 'let the slowest flow catch up, or raise bytesMax',
    details: { bytesMax, bytes },
  });
}

export function truncated(where: string, from: number, first: number): TallyError {
  return new TallyError('LOG_TRUNCATED', {
    what: `the log starts at ${first} and no longer holds ${from}`,
    where,
    mend: 'build the target anew from a snapshot; what was released cannot be read again',
    details: { from, first },
  });
}

export function gap(where: string, from: number): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what: `the log has no record ${from}, though it has some before and after`,
    where,
    mend: 'restore the tables of the log from a backup, or start a new log and take a new snapshot of the source',
    details: { from },
  });
}

export function appendUnknown(where: string, cause: unknown): TallyError {
  return new TallyError('COMMIT_UNKNOWN', {
    what: 'the connection ended while the log was appending',
    where,
    mend: 'open the log for appending again: its tail says what is there',
    cause,
  });
}

export function closed(where: string): TallyError {
  return new TallyError('STORE_CLOSED', {
    what: 'the log was used after it was closed',
    where,
    mend: 'open it again',
  });
}
