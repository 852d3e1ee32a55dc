import { TallyError } from '../../../core/errors.ts';

/** The system's error code (`ENOSPC`) of something thrown. */
export function systemCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** Whether the disk or the quota under the log is full. */
export function isDiskFull(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

export function corrupt(path: string, byteOffset: number, what: string): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what: `the log is damaged: ${what}`,
    where: `${path}, byte ${byteOffset}`,
    mend: 'keep the file, restore the log from a copy, or start a new log and take a new snapshot of the source',
    details: { path, byteOffset },
  });
}

export function diskFull(dir: string, cause: unknown): TallyError {
  return new TallyError('STORE_FULL', {
    what: 'the disk under the log is full; nothing of the append was kept',
    where: dir,
    mend: 'free space on that disk, or let the log go of what every flow has applied',
    details: { dir },
    cause,
  });
}

export function logFull(dir: string, bytesMax: number, bytes: number): TallyError {
  return new TallyError('LOG_FULL', {
    what: `the log holds ${bytes} of ${bytesMax} bytes and may not drop what is still needed`,
    where: dir,
    mend: 'let the slowest flow catch up, or raise bytesMax',
    details: { dir, bytesMax, bytes },
  });
}

/** `holder`: the epoch of whoever has it, where that is known. */
export function fencedOut(dir: string, epoch: number, holder?: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `the log was opened for appending after epoch ${epoch}; the newer appender owns it`,
    where: dir,
    mend: 'stop this worker, and let it take the lease anew before it appends',
    details: { dir, epoch, ...(holder === undefined ? {} : { holder }) },
  });
}

export function truncated(dir: string, from: number, first: number): TallyError {
  return new TallyError('LOG_TRUNCATED', {
    what: `the log starts at ${first} and no longer holds ${from}`,
    where: dir,
    mend: 'build the target anew from a snapshot; what was released cannot be read again',
    details: { dir, from, first },
  });
}

export function closed(dir: string): TallyError {
  return new TallyError('STORE_CLOSED', {
    what: 'the log was used after it was closed',
    where: dir,
    mend: 'open it again',
  });
}

/** What the file system said, as a failure that a caller can decide about. */
export function unreachableDisk(dir: string, cause: unknown): TallyError {
  if (cause instanceof TallyError) return cause;
  if (isDiskFull(cause)) return diskFull(dir, cause);
  return new TallyError('STORE_UNREACHABLE', {
    what: `the files of the log cannot be used (${systemCode(cause) ?? String(cause)})`,
    where: dir,
    mend: 'see that the directory exists, is writable, and that its disk works; then open the log again',
    details: { dir },
    cause,
  });
}
