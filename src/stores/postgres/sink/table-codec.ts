import { encodeValue } from '../../../core/codec.ts';
import { must, type TallyError } from '../../../core/errors.ts';
import { suggest } from '../../../core/options.ts';
import type { Row, Scalar, Value } from '../../../core/row.ts';
import type { Cell } from './array-param.ts';
import { decodeCell, encodeCell, takesBytes, type TableColumn } from './column-codec.ts';
import type { Column, RowCodec } from './layout.ts';
import { checkSize, refused } from './refusal.ts';

/** Keys and rows in typed columns; see `table` for what a type does to a value. */
export function tableCodec(
  declared: {
    readonly key: readonly Column[];
    readonly values: readonly Column[];
    readonly rowBytesMax: number;
  },
  present: readonly TableColumn[],
): RowCodec {
  const there = new Map(present.map((column) => [column.name, column]));
  const of = ({ name }: Column): TableColumn => must(there.get(name), `the column ${name}`);
  const keyColumns = declared.key.map(of);
  const valueColumns = declared.values.map(of);
  const columns = [...keyColumns, ...valueColumns];
  const known = new Set(columns.map(({ name }) => name));
  const { rowBytesMax } = declared;
  return {
    sent: columns.map((column) => ({
      name: column.name,
      cast: column.cast,
      bytes: takesBytes(column),
    })),
    bindKey(given, into) {
      if (given.length !== keyColumns.length) throw wrongKey(given.length, keyColumns);
      for (const [index, column] of keyColumns.entries()) {
        const value = given[index] ?? null;
        if (value === null) throw refused(`the key column ${column.name} is null`);
        into[index] = encodeCell(value, column);
      }
    },
    bindRow(given, row, into) {
      let characters = 0;
      for (const [index, column] of valueColumns.entries()) {
        const value = row[column.name];
        const cell = value === undefined ? null : encodeCell(value, column);
        characters += sizeOf(cell);
        into[keyColumns.length + index] = cell;
      }
      for (const name in row) if (!known.has(name)) throw unknownColumn(name, [...known]);
      for (const [index, { name }] of keyColumns.entries()) checkKeyColumn(name, row, given[index]);
      // Only a row that might be over the limit pays for being encoded.
      if (characters * 3 > rowBytesMax) checkSize(encodeValue(row), rowBytesMax);
    },
    read(record) {
      const row: Record<string, Value> = {};
      for (const [index, column] of columns.entries())
        row[column.name] = decodeCell(record[index], column);
      return { key: keyColumns.map(({ name }) => row[name] as Scalar), row };
    },
  };
}

function sizeOf(cell: Cell): number {
  if (cell === null) return 0;
  return typeof cell === 'string' ? cell.length : cell.length * 2;
}

/** A row may repeat its key columns, but not contradict the key that it is stored under. */
function checkKeyColumn(name: string, row: Row, expected: Scalar | undefined): void {
  const value = row[name];
  if (value === undefined || value === expected) return;
  if (
    typeof value !== 'object' &&
    value !== null &&
    expected !== null &&
    String(value) === String(expected)
  )
    return;
  if (
    value instanceof Uint8Array &&
    expected instanceof Uint8Array &&
    Buffer.compare(value, expected) === 0
  )
    return;
  throw refused(`the row's ${name} is not the ${name} of its key`, { column: name });
}

function unknownColumn(name: string, known: readonly string[]): TallyError {
  const nearest = suggest(name, known);
  return refused(
    `the target has no column ${name}`,
    { column: name, known, ...(nearest === undefined ? {} : { nearest }) },
    `${nearest === undefined ? '' : `did you mean ${nearest}? `}declare the column, or leave it out of the projection`,
  );
}

function wrongKey(length: number, columns: readonly { readonly name: string }[]): TallyError {
  return refused(
    `the key has ${length} values, the target's key is (${columns.map(({ name }) => name).join(', ')})`,
  );
}
