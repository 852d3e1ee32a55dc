import { decodeRow } from '../../core/codec.ts';
import { TallyError } from '../../core/errors.ts';
import { keyOfText } from '../../core/key-text.ts';
import { checkNumber, suggest } from '../../core/options.ts';
import type { Key, Row } from '../../core/row.ts';
import type { Scan, ScanOptions } from '../../ports/scan.ts';
import type { Link, Tx } from './link.ts';
import { FLOW, nameOf } from './names.ts';
import { rowsOf } from './statements.ts';
import { placeOf, type Place, type Targets } from './targets.ts';
import { keyProperty } from './values.ts';

/**
 * Reads targets in the order that the index of their keys has. Throws TABLE_UNKNOWN for what was not declared and no flow has
 * filled, and ABORTED.
 */
export function openScan(link: Link, prefix: string, targets: Targets): Scan {
  /** Undefined: it was declared, and is not there yet. */
  const found = async (tx: Tx, target: string): Promise<Place | undefined> => {
    const flows = await tx.run(
      `MATCH (f:${FLOW}) WHERE f.id STARTS WITH $prefix UNWIND f.targets AS target RETURN DISTINCT target`,
      { prefix },
    );
    const names = flows.map(({ target: name }) => String(name));
    if (names.includes(target)) return placeOf(targets, target);
    if (Object.hasOwn(targets, target)) return undefined;
    const nearest = suggest(target, [...Object.keys(targets), ...names]);
    throw new TallyError('TABLE_UNKNOWN', {
      what: `there is no target ${target}`,
      where: link.where,
      mend: nearest === undefined ? 'name a target that a flow fills' : `did you mean ${nearest}?`,
      details: { target, ...(nearest === undefined ? {} : { nearest }) },
    });
  };
  return {
    async *scan(target, { after, signal, ...options }: ScanOptions) {
      const rowsMax = checkNumber(options.rowsMax, 'scan.rowsMax', { min: 1, integer: true });
      let last = after === undefined ? undefined : keyProperty(after);
      for (;;) {
        if (signal?.aborted === true)
          throw new TallyError('ABORTED', {
            what: 'the scan was given up',
            where: `target ${target}`,
          });
        const rows = await link.read(async (tx) => {
          const place = await found(tx, target);
          return place === undefined
            ? []
            : tx.run(pageOf(place, last === undefined ? '>=' : '>'), {
                last: last ?? '',
                limit: BigInt(rowsMax),
              });
        });
        if (rows.length > 0) yield rows.map(readRow);
        if (rows.length < rowsMax) return;
        last = String(rows.at(-1)?.['key']);
      }
    },
    count: (target) =>
      link.read(async (tx) => {
        const place = await found(tx, target);
        if (place === undefined) return 0;
        const [row] = await tx.run(
          `MATCH ${rowsOf(place)} WHERE n._fence IS NOT NULL RETURN count(n) AS count`,
        );
        return Number(row?.['count'] ?? 0);
      }),
  };
}

/**
 * Compared and ordered by the index alone. Sorted in memory, characters beyond U+FFFF come elsewhere than where a comparison
 * puts them, and a page would begin behind rows that no page has had.
 */
function pageOf(place: Place, after: '>' | '>='): string {
  return `MATCH ${rowsOf(place)} USING INDEX n:${nameOf(place)}(_key)
WHERE n._key ${after} $last AND n._fence IS NOT NULL
RETURN n._key AS key, n._row AS row ORDER BY n._key LIMIT $limit`;
}

function readRow(row: Readonly<Record<string, unknown>>): { key: Key; row: Row } {
  return { key: keyOfText(String(row['key'])), row: decodeRow(String(row['row'])) };
}
