import { TallyError } from '../../core/errors.ts';
import { checkNumber } from '../../core/options.ts';
import type { Key, Row } from '../../core/row.ts';
import type { Scan, ScanOptions } from '../../ports/scan.ts';
import type { OpenSearchParts } from './parts.ts';
import { documentId, keyOfId, rowOf } from './sink/document.ts';
import { pathOf } from './sink/names.ts';
import { refresh, search } from './sink/search.ts';
import { OWN_FIELD } from './sink/targets.ts';

/** Rows of one search: at the default limit of a row, 100 MiB at most. */
const READ_ROWS = 100;

interface ReadRow {
  readonly key: Key;
  readonly row: Row;
}

/**
 * Reads targets through their readers' alias, in the order of their keys' texts. The index is refreshed first: what was
 * applied before is there. Throws TABLE_UNKNOWN for what no flow has filled, and ABORTED.
 */
export function openScan(parts: OpenSearchParts): Scan {
  const unknown = (target: string): TallyError =>
    new TallyError('TABLE_UNKNOWN', {
      what: `no flow has filled the target ${target}`,
      where: parts.where,
      mend: 'check the name; a target is there once a flow has opened it',
      details: { target },
    });
  return {
    async *scan(target: string, options: ScanOptions): AsyncGenerator<readonly ReadRow[]> {
      const rowsMax = checkNumber(options.rowsMax, 'scan.rowsMax', { min: 1, integer: true });
      checkAborted(options.signal, target);
      const alias = parts.names.readers(target);
      await refresh(parts, [alias]);
      let after = options.after === undefined ? undefined : documentId(options.after);
      let page: ReadRow[] = [];
      for (;;) {
        const size = Math.min(rowsMax - page.length, READ_ROWS);
        const body = {
          size,
          sort: [{ [`${OWN_FIELD}.key`]: 'asc' }],
          track_total_hits: false,
          ...(after === undefined ? {} : { search_after: [after] }),
        };
        const hits = await search(parts, alias, body, options.signal);
        if (hits === undefined) throw unknown(target);
        for (const { _id: id, _source: source } of hits)
          page.push({ key: keyOfId(id), row: rowOf(source) });
        const last = page.at(-1);
        if (last !== undefined) after = documentId(last.key);
        const isEnd = hits.length < size;
        if (page.length > 0 && (isEnd || page.length >= rowsMax)) {
          yield page;
          page = [];
          checkAborted(options.signal, target);
        }
        if (isEnd) return;
      }
    },
    async count(target: string): Promise<number> {
      const alias = parts.names.readers(target);
      await refresh(parts, [alias]);
      const path = `/${pathOf(alias)}/_count`;
      const { status, body } = await parts.link.request({ method: 'GET', path });
      if (status === 404) throw unknown(target);
      return (body as { readonly count: number }).count;
    },
  };
}

function checkAborted(signal: AbortSignal | undefined, target: string): void {
  if (signal?.aborted !== true) return;
  throw new TallyError('ABORTED', { what: 'the scan was given up', where: `target ${target}` });
}
