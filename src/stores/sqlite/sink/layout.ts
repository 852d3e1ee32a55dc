import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { unreachable } from '../../../core/errors.ts';
import type { Key, Row } from '../../../core/row.ts';
import { documentCodec } from './document-codec.ts';
import { literal } from './names.ts';
import { tableCodec } from './table-codec.ts';
import type { TargetDeclaration } from './targets.ts';

/** A column that writes fill. */
export interface Column {
  readonly name: string;
  /** SQL type and constraints. */
  readonly type: string;
}

/** A column that SQLite computes from the document. */
export interface DerivedColumn extends Column {
  readonly expression: string;
}

/** How keys and rows become bound values, and back. */
export interface RowCodec {
  /** Fills `into` from index 0 with the key columns. Throws what the write is refused with. */
  bindKey(key: Key, into: SQLInputValue[]): void;
  /** Fills `into` from index `at` with the value columns. Throws what the write is refused with. */
  bindRow(key: Key, row: Row, into: SQLInputValue[], at: number, nowMs: number): void;
  /** Reads a record of the key columns, then the value columns. */
  read(record: readonly SQLOutputValue[]): { readonly key: Key; readonly row: Row };
}

/**
 * A target kind as data: every kind is one table with a key, some columns, and what SQLite derives
 * from them. All writes go through the same fenced statements, whatever the kind.
 */
export interface Layout {
  readonly key: readonly Column[];
  readonly values: readonly Column[];
  readonly derived: readonly DerivedColumn[];
  /** Columns of each further index. */
  readonly indexes: readonly (readonly string[])[];
  readonly fullText: { readonly columns: readonly string[]; readonly tokenize: string } | undefined;
  /** Whether rows have an `expires_at_ms`. */
  readonly expires: boolean;
  readonly codec: RowCodec;
}

const KEY: Column = { name: 'key', type: 'TEXT NOT NULL' };
const DOCUMENT: Column = { name: 'document', type: 'TEXT NOT NULL' };

/** The layout of a declared target; `rowBytesMax` bounds the canonical text of a row. */
export function layoutOf(declaration: TargetDeclaration, rowBytesMax: number): Layout {
  const none = { derived: [], indexes: [], fullText: undefined, expires: false };
  const documents = {
    ...none,
    key: [KEY],
    values: [DOCUMENT],
    codec: documentCodec(rowBytesMax, undefined),
  };
  switch (declaration.kind) {
    case 'documents':
      return documents;
    case 'fullText': {
      const { columns, tokenize } = declaration;
      const derived = columns.map((name) => field(name, name, ''));
      return { ...documents, derived, fullText: { columns, tokenize } };
    }
    case 'edges': {
      const { from, to, type } = declaration;
      return {
        ...documents,
        derived: [
          field('from', from, ' CHECK ("from" IS NOT NULL)'),
          field('to', to, ' CHECK ("to" IS NOT NULL)'),
          field('kind', type, ''),
        ],
        indexes: [
          ['from', 'kind', 'to'],
          ['to', 'kind', 'from'],
        ],
      };
    }
    case 'keyValue':
      return {
        ...documents,
        values: [DOCUMENT, { name: 'expires_at_ms', type: 'INTEGER' }],
        indexes: [['expires_at_ms']],
        expires: true,
        codec: documentCodec(rowBytesMax, declaration),
      };
    case 'table': {
      const columns = Object.entries(declaration.columns).map(([name, type]) => ({ name, type }));
      const key = declaration.key.map((name) => ({ name, type: columnType(declaration, name) }));
      const values = columns.filter(({ name }) => !declaration.key.includes(name));
      return { ...none, key, values, codec: tableCodec(key, values, rowBytesMax) };
    }
    default:
      return unreachable(declaration);
  }
}

function columnType(
  { columns }: { readonly columns: Readonly<Record<string, string>> },
  name: string,
): string {
  return `${columns[name] ?? ''} NOT NULL`;
}

function field(name: string, path: string, check: string): DerivedColumn {
  return { name, type: `TEXT${check}`, expression: `document ->> ${literal(`$."${path}"`)}` };
}
