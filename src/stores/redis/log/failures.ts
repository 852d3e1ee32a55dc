import { TallyError } from '../../../core/errors.ts';

export function fencedOut(where: string, epoch: number, present: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `the log was opened for appending under epoch ${present} after this appender of epoch ${epoch}; the newer one owns it`,
    where,
    mend: 'stop this worker, and let it take the lease anew before it appends',
    details: { epoch, holder: present },
  });
}

/**
 * The log does not hold what it had acknowledged. It is tried again: the next appender finds where the log ends, and
 * whoever knows what the source was told compares.
 */
export function recordsLost(where: string, details: Readonly<Record<string, unknown>>): TallyError {
  return new TallyError('STORE_UNREACHABLE', {
    what: 'Redis no longer holds all that was appended to the log (restarted or failed over without its last writes, emptied, or changed by somebody else)',
    where,
    mend: 'nothing if the source still has it; else see what Redis persists: a log wants appendonly yes, and appendfsync always to survive the loss of power',
    details: { lost: true, ...details },
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

export function evicts(where: string, policy: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `Redis may throw away the log to make room (maxmemory-policy ${policy})`,
    where,
    mend: 'set maxmemory-policy noeviction or one of volatile-*, or keep the log in another Redis',
    details: { policy },
  });
}
