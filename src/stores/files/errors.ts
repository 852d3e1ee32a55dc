import { TallyError } from '../../core/errors.ts';

/** The code of an error of the operating system (`ENOSPC`); undefined for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  const code: unknown =
    error instanceof Error && 'syscall' in error ? Object(error).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** Whether there is no file or directory of that name. */
export function isAbsent(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Whether the name is taken. */
export function isPresent(error: unknown): boolean {
  return systemErrorCode(error) === 'EEXIST';
}

/**
 * What the file system said, as a failure that a caller can decide about: STORE_FULL for a full
 * disk, quota or file size limit; VALUE_UNSUPPORTED for a key whose path this system cannot hold;
 * STORE_UNREACHABLE for the rest. What is no error of the system is returned as it is.
 */
export function filesError(error: unknown, where: string): unknown {
  const code = systemErrorCode(error);
  if (code === undefined) return error;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new TallyError('STORE_FULL', {
        what: 'the disk, or the quota, under the files is full; nothing of the write is visible',
        where,
        mend: 'free space on that disk or raise the limit; the call may then be repeated',
        details: { system: code },
        cause: error,
      });
    case 'ENAMETOOLONG':
      return new TallyError('VALUE_UNSUPPORTED', {
        what: 'the path of a key is longer than this system allows',
        where,
        mend: 'use a shorter key, or a directory nearer to the root of the disk',
        details: { system: code },
        cause: error,
      });
    default:
      return new TallyError('STORE_UNREACHABLE', {
        what: `the files cannot be used (${code})`,
        where,
        mend: 'see that the directory exists, that this process may write in it, and that its disk works',
        details: { system: code },
        cause: error,
      });
  }
}

/** A file that is not as this store writes it. */
export function corruptFile(path: string, what: string, cause?: unknown): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what,
    where: path,
    mend: 'restore the file from a copy, or remove it and write the object again',
    details: { path },
    cause,
  });
}

/** The refusal of whatever is asked after the end. */
export function closedStore(where: string): TallyError {
  return new TallyError('STORE_CLOSED', {
    what: 'it was used after it was closed',
    where,
    mend: 'open it again',
  });
}
