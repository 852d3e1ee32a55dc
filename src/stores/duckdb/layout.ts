import { decodeKey, decodeRow, encodeKey, encodeValue } from '../../core/codec.ts';
import { errorText, TallyError } from '../../core/errors.ts';
import { suggest } from '../../core/options.ts';
import type { Key, Row, Value } from '../../core/row.ts';
import type { Write } from '../../core/write.ts';
import { codecOf, type BlobMaker, type ColumnCodec } from './columns.ts';
import type { DuckdbParameter } from './driver.ts';
import { quote, type ColumnarTarget } from './targets.ts';

/** One column of a target's table, the coordinator's own left out. */
export interface LayoutColumn {
  readonly name: string;
  /** The type as DuckDB names it. */
  readonly type: string;
  readonly codec: ColumnCodec;
}

/** How a target's rows stand in its table. */
export interface Layout {
  readonly target: string;
  readonly columns: readonly LayoutColumn[];
  readonly key: readonly LayoutColumn[];
  readonly appendOnly: boolean;
  readonly orderBy: readonly string[];
  /** Puts the values of a write into `values`, in the order of `columns`. Throws if one does not fit. */
  encode(write: Write, values: unknown[]): void;
  /** The values of the key columns that a key stands for. */
  keyValues(key: Key): readonly DuckdbParameter[];
  /** A row as it was written, from the values of `columns`. */
  decode(values: readonly unknown[]): { readonly key: Key; readonly row: Row };
}

/** Asks DuckDB what it calls a type. Throws what DuckDB throws if there is none of that name. */
export type DescribeTypes = (types: readonly string[]) => Promise<readonly string[]>;

/** The layout of a declared target. Throws CONFIG_INVALID for a type that is not there or cannot be written. */
export async function columnarLayout(
  target: string,
  declared: ColumnarTarget,
  describe: DescribeTypes,
  blob: BlobMaker,
): Promise<Layout> {
  const columns: LayoutColumn[] = [];
  for (const [name, type] of Object.entries(declared.columns)) {
    const where = `targets.${target}.columns.${name}`;
    const known = await describe([type]).catch((error: unknown) => {
      throw unusable(where, `DuckDB does not know the type: ${errorText(error, 200)}`);
    });
    const canonical = known[0] ?? '';
    const codec = codecOf(canonical, blob);
    if (codec === undefined) throw unusable(where, `${canonical} cannot be written`);
    columns.push({ name, type: canonical, codec });
  }
  const key = declared.key.flatMap((name) => columns.filter((column) => column.name === name));
  for (const { name, type, codec } of key)
    if (!codec.keyable)
      throw unusable(`targets.${target}.key`, `${name} is ${type}, which cannot be a key`);
  return {
    target,
    columns,
    key,
    appendOnly: declared.appendOnly === true,
    orderBy: declared.orderBy ?? [],
    ...columnarRows(target, columns, key),
  };
}

/** The layout of a target that was not declared: its key as text, and the row as JSON. */
export function documentsLayout(target: string, blob: BlobMaker): Layout {
  const text = codecOf('VARCHAR', blob);
  const json = codecOf('JSON', blob);
  if (text === undefined || json === undefined)
    throw new TallyError('INTERNAL', { what: 'the types of a documents table are not there' });
  const key = { name: 'key', type: 'VARCHAR', codec: text };
  return {
    target,
    columns: [key, { name: 'doc', type: 'JSON', codec: json }],
    key: [key],
    appendOnly: false,
    orderBy: [],
    encode: (write, values) => {
      values[0] = encodeKey(write.key);
      values[1] = write.row === null ? null : encodeValue(write.row);
    },
    keyValues: (given) => [encodeKey(given)],
    decode: ([keyText, doc]) => ({
      key: decodeKey(keyText as string),
      row: decodeRow(doc as string),
    }),
  };
}

function columnarRows(
  target: string,
  columns: readonly LayoutColumn[],
  key: readonly LayoutColumn[],
): Pick<Layout, 'encode' | 'keyValues' | 'decode'> {
  const keyIndexes = key.map((column) => columns.indexOf(column));
  const keyPlaces = columns.map((column) => key.indexOf(column));
  const names = columns.map(({ name }) => name);
  // A row's own members only: a column may be called `constructor`. Asking is slow, and rarely needed.
  const inherited = names.map((name) => name in Object.prototype);
  const places = columns.map(({ name }) => `${target}.${name}`);
  return {
    encode: (write, values) => {
      const { row, key: given } = write;
      if (given.length !== key.length)
        throw refused(target, `a key of ${given.length} parts is not one of ${key.length}`);
      let found = 0;
      for (let index = 0; index < columns.length; index++) {
        const { name, codec } = columns[index] as LayoutColumn;
        const place = keyPlaces[index] ?? -1;
        const own = row !== null && (inherited[index] !== true || Object.hasOwn(row, name));
        const held: Value | undefined = own ? row[name] : undefined;
        if (held !== undefined) found += 1;
        const value = place < 0 ? (held ?? null) : (given[place] ?? null);
        if (place >= 0) checkKeyPart(target, name, value, held);
        values[index] = value === null ? null : codec.encode(value, places[index] ?? name);
      }
      if (row !== null) checkNoMore(target, row, found, names);
    },
    // Columns of a key are integers, text or booleans: the types that can be bound.
    keyValues: (given) => given as readonly DuckdbParameter[],
    decode: (values) => {
      const decoded = columns.map(({ codec }, index) => codec.decode(values[index] ?? null));
      return {
        key: keyIndexes.map((index) => decoded[index] ?? null) as Key,
        row: Object.fromEntries(names.map((name, index) => [name, decoded[index] ?? null])),
      };
    },
  };
}

function checkKeyPart(target: string, name: string, value: Value, held: Value | undefined): void {
  if (value === null) throw refused(target, `the key column ${name} is null`);
  if (held === undefined || held === value) return;
  if (encodeValue(held) === encodeValue(value)) return;
  throw refused(target, `the row's ${name} is not the one of its key`);
}

/** A column that the table lacks would be lost without a word. */
function checkNoMore(target: string, row: Row, found: number, names: readonly string[]): void {
  let count = 0;
  for (const name in row) if (row[name] !== undefined) count += 1;
  if (count === found) return;
  const stranger = Object.keys(row).find((name) => !names.includes(name)) ?? '';
  const nearest = suggest(stranger, names);
  throw new TallyError('WRITE_REFUSED', {
    what: `the row has ${JSON.stringify(stranger)}, which is not a declared column`,
    where: target,
    mend: `${nearest === undefined ? '' : `did you mean ${nearest}? `}declare it in columnar() and rebuild, or leave it out in the projection`,
    details: { column: stranger },
  });
}

function refused(target: string, what: string): TallyError {
  return new TallyError('WRITE_REFUSED', {
    what,
    where: target,
    mend: 'let the projection give a key with a value for each key column',
  });
}

function unusable(path: string, what: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what,
    where: path,
    mend: 'give a plain DuckDB type without constraints; for lists and structs declare JSON, for keys an integer, VARCHAR or BOOLEAN',
    details: { path },
  });
}

/** Columns as SQL, separated by commas. */
export function listed(columns: readonly { readonly name: string }[], prefix = ''): string {
  return columns.map(({ name }) => `${prefix}${quote(name)}`).join(', ');
}
