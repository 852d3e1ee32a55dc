import { TallyError } from '../../core/errors.ts';
import { checkNumber } from '../../core/options.ts';
import type { Key } from '../../core/row.ts';
import type { Scan, ScanOptions } from '../../ports/scan.ts';
import type { Readers, ReadRow } from './sink/reader.ts';

/**
 * Reads targets, and other tables with a primary key, in the order of their key columns. Each page is one state of
 * the database; rows that change between pages are seen as they are when their page is read. Throws TABLE_UNKNOWN,
 * TABLE_UNSUPPORTED, and ABORTED once the signal aborts.
 */
export function openScan(readers: Readers): Scan {
  return {
    async *scan(target: string, options: ScanOptions): AsyncGenerator<readonly ReadRow[]> {
      const rowsMax = checkNumber(options.rowsMax, 'scan.rowsMax', { min: 1, integer: true });
      let after: Key | undefined = options.after;
      for (;;) {
        if (options.signal?.aborted === true)
          throw new TallyError('ABORTED', {
            what: 'the scan was given up',
            where: `target ${target}`,
          });
        const from = after;
        const page = await readers.use(target, (reader) => reader.page(from, rowsMax));
        if (page.length > 0) yield page;
        if (page.length < rowsMax) return;
        after = page.at(-1)?.key;
      }
    },
    async count(target: string): Promise<number> {
      return readers.use(target, (reader) => reader.count());
    },
  };
}
