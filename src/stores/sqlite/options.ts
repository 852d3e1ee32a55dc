import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkString } from '../../core/options.ts';
import { BUSY_TIMEOUT_MS, type Synchronous } from './connection.ts';
import { POLL_MS } from './source/source.ts';

/** Where the database is, and how durable its commits are. */
export interface FileOptions {
  /** The path of the database file; it is created if it does not exist. */
  readonly file: string;
  /** `FULL` (default): a commit survives the loss of power. `NORMAL`: of the process only. */
  readonly synchronous?: Synchronous;
  /** How long a statement waits for another writer, blocking; then it throws STORE_BUSY. Default 5 s. */
  readonly busyTimeoutMs?: number;
  /** How often whoever waits looks for writes of other programs. Default 50 ms. */
  readonly pollMs?: number;
}

/** The names of {@link FileOptions}. */
export const fileOptionNames: readonly string[] = [
  'file',
  'synchronous',
  'busyTimeoutMs',
  'pollMs',
];

/** Checks the options of a file, and fills in the defaults. Throws CONFIG_INVALID. */
export function checkFile(options: FileOptions): Required<FileOptions> {
  const { file, synchronous = 'FULL', busyTimeoutMs = BUSY_TIMEOUT_MS, pollMs = POLL_MS } = options;
  checkString(file, 'sqlite.file');
  if (file === ':memory:' || file.startsWith('file:')) {
    throw new TallyError('CONFIG_INVALID', {
      what: `'${file}' is not the path of a file`,
      where: 'sqlite.file',
      mend: 'give a plain path, in a temporary directory if it need not last',
    });
  }
  if (synchronous !== 'FULL' && synchronous !== 'NORMAL') {
    throw new TallyError('CONFIG_INVALID', {
      what: `'${String(synchronous)}' is not a way to synchronise`,
      where: 'sqlite.synchronous',
      mend: "write 'FULL' or 'NORMAL'",
    });
  }
  checkNumber(busyTimeoutMs, 'sqlite.busyTimeoutMs', { min: 0, max: 600_000, integer: true });
  checkNumber(pollMs, 'sqlite.pollMs', { min: 1, max: 60_000 });
  return { file, synchronous, busyTimeoutMs, pollMs };
}
