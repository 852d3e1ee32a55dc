import type { SinkSupports } from '../../ports/sink.ts';
import type { ColumnarTarget } from './targets.ts';

/** Far above what a report's row should be; a batch of such rows still fits the memory limit. */
const ROW_BYTES_MAX = 16 * 2 ** 20;
/** A transaction costs some milliseconds whatever is in it; from here on the rows cost more. */
const BATCH_ROWS_PREFERRED = 20_000;

/** What DuckDB can do as a target of documents. */
export const sinkSupports: SinkSupports = {
  effect: 'transactional',
  ordinalFence: true,
  foldState: true,
  switchOver: true,
  rowBytesMax: ROW_BYTES_MAX,
  batchRowsPreferred: BATCH_ROWS_PREFERRED,
};

/** {@link sinkSupports} with declared columns: a column of a key holds values of one type. */
export const columnarSinkSupports: SinkSupports = { ...sinkSupports, typedKeys: false };

/** What a store with these declared targets can do. */
export function sinkSupportsOf(declared: Readonly<Record<string, ColumnarTarget>>): SinkSupports {
  return Object.keys(declared).length === 0 ? sinkSupports : columnarSinkSupports;
}
