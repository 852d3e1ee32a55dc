import { resolve } from 'node:path';
import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../../../core/options.ts';
import type { LedgerDefinition } from '../../../ports/ledger.ts';
import { BUSY_TIMEOUT_MS } from '../connection.ts';
import { openThreadLedger } from './thread-ledger.ts';

/** SQLite needs a few pages for the tables alone. */
const FILE_BYTES_MIN: number = 64 * 1024;

export interface SqliteLedgerOptions {
  /** The ledger's own file; it is created if it does not exist, its directory is not. */
  readonly file: string;
  /** How long a flush waits for another process's before it fails with STORE_BUSY. Default 5 s. */
  readonly busyTimeoutMs?: number;
  /** The file grows to this and then refuses with STORE_FULL. Default: as far as the disk goes. */
  readonly fileBytesMax?: number;
}

/**
 * A ledger in one SQLite file: a step that resolved survives the loss of power (WAL with
 * synchronous=FULL), and all steps waiting at the same time share one fsync. SQLite runs in a thread
 * of its own, so that neither the disk nor another process's lock stops this one.
 *
 * Several processes of one machine can use the file at once; a network file system cannot carry it.
 * Text is limited (names 1 KiB, values 64 MiB: ROW_TOO_LARGE) and must be well-formed
 * (VALUE_UNSUPPORTED); more than 100 000 waiting steps are refused with STORE_BUSY. If the thread
 * ends, steps that were under way reject with COMMIT_UNKNOWN and everything else, from then on, with
 * STORE_UNREACHABLE.
 *
 * Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 *
 * @example
 * const ledger = await sqliteLedger({ file: 'ledger.db' }).open(context);
 * await ledger.commit([{ kind: 'put', space: 'greetings', key: 'first', value: 'hello' }]);
 */
export function sqliteLedger(options: SqliteLedgerOptions): LedgerDefinition {
  checkOptions(options, ['file', 'busyTimeoutMs', 'fileBytesMax'], 'ledger');
  const file = checkString(options.file, 'ledger.file');
  if (file === ':memory:') {
    throw new TallyError('CONFIG_INVALID', {
      what: 'a ledger in memory would lose every promise at the end of the process',
      where: 'ledger.file',
      mend: 'give the path of a file, or use the ledger of tallystick/memory in tests',
    });
  }
  const { busyTimeoutMs = BUSY_TIMEOUT_MS, fileBytesMax } = options;
  checkNumber(busyTimeoutMs, 'ledger.busyTimeoutMs', { min: 0, max: 600_000, integer: true });
  if (fileBytesMax !== undefined)
    checkNumber(fileBytesMax, 'ledger.fileBytesMax', { min: FILE_BYTES_MIN, integer: true });
  return {
    system: 'sqlite',
    open: ({ name }) =>
      openThreadLedger({
        file: resolve(file),
        where: `ledger ${name}, file ${file}`,
        busyTimeoutMs,
        fileBytesMax,
      }),
  };
}
