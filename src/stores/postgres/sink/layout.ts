import { unreachable } from '../../../core/errors.ts';
import type { Key, Row } from '../../../core/row.ts';
import { literal } from '../database.ts';
import type { Cell } from './array-param.ts';
import type { TableColumn } from './column-codec.ts';
import { documentCodec } from './document-codec.ts';
import { tableCodec } from './table-codec.ts';
import type { TableTarget, TargetDeclaration } from './targets.ts';

/** A column that writes fill. */
export interface Column {
  readonly name: string;
  /** SQL type and constraints. */
  readonly type: string;
}

/** A column that PostgreSQL computes from the document. */
export interface DerivedColumn extends Column {
  readonly expression: string;
}

/** A column as a statement sends it. */
export interface SentColumn {
  readonly name: string;
  readonly cast: string;
  readonly bytes: boolean;
}

/** How keys and rows become cells, and back. */
export interface RowCodec {
  /** Key columns, then value columns. */
  readonly sent: readonly SentColumn[];
  /** Fills `into` from index 0 with the key columns. Throws what the write is refused with. */
  bindKey(key: Key, into: Cell[]): void;
  /** Fills `into` after the key columns with the value columns. Throws what the write is refused with. */
  bindRow(key: Key, row: Row, into: Cell[], nowMs: number): void;
  /** Reads a record of the key columns, then the value columns. */
  read(record: readonly unknown[]): { readonly key: Key; readonly row: Row };
}

/**
 * A target kind as data: every kind is one table with a key, some columns, and what PostgreSQL derives from them.
 * All writes go through the same fenced statements, whatever the kind.
 */
export interface Layout {
  readonly key: readonly Column[];
  readonly values: readonly Column[];
  readonly derived: readonly DerivedColumn[];
  /** What each further index is made of, as SQL. */
  readonly indexes: readonly { readonly name: string; readonly using: string }[];
  /** The text search configuration of the column `search`, for the targets that have it. */
  readonly language: string | undefined;
  /** Whether rows have an `expires_at`. */
  readonly expires: boolean;
  /** Whether texts of columns depend on settings of the session, such as its time zone. */
  readonly typed: boolean;
  /** The codec for the table as it is. */
  codec(columns: readonly TableColumn[]): RowCodec;
}

const KEY: Column = { name: 'key', type: 'text COLLATE "C" NOT NULL' };
const DOCUMENT: Column = { name: 'document', type: 'jsonb NOT NULL' };

/** The layout of a declared target; `rowBytesMax` bounds the canonical text of a row. */
export function layoutOf(declaration: TargetDeclaration, rowBytesMax: number): Layout {
  const plain = documentCodec(rowBytesMax, undefined);
  const documents = {
    key: [KEY],
    values: [DOCUMENT],
    derived: [],
    indexes: [],
    language: undefined,
    expires: false,
    typed: false,
    codec: () => plain,
  };
  switch (declaration.kind) {
    case 'documents':
      return documents;
    case 'fullText': {
      const { columns, language } = declaration;
      const texts = columns.map((name) => `coalesce(document ->> ${literal(name)}, '')`);
      const expression = `to_tsvector(${literal(language)}::regconfig, ${texts.join(` || ' ' || `)})`;
      return {
        ...documents,
        derived: [{ name: 'search', type: 'tsvector', expression }],
        indexes: [{ name: 'search', using: 'gin (search)' }],
        language,
      };
    }
    case 'edges': {
      const { from, to, type } = declaration;
      return {
        ...documents,
        derived: [
          field('from', from, ' NOT NULL'),
          field('to', to, ' NOT NULL'),
          field('kind', type, ''),
        ],
        indexes: [
          { name: 'from_kind_to', using: 'btree ("from", "kind", "to")' },
          { name: 'to_kind_from', using: 'btree ("to", "kind", "from")' },
        ],
      };
    }
    case 'keyValue': {
      const expiring = documentCodec(rowBytesMax, declaration);
      return {
        ...documents,
        values: [DOCUMENT, { name: 'expires_at', type: 'timestamptz' }],
        indexes: [{ name: 'expires_at', using: 'btree (expires_at)' }],
        expires: true,
        codec: () => expiring,
      };
    }
    case 'table':
      return tableLayout(declaration, documents, rowBytesMax);
    default:
      return unreachable(declaration);
  }
}

function tableLayout(declaration: TableTarget, plain: Layout, rowBytesMax: number): Layout {
  const columns = Object.entries(declaration.columns).map(([name, type]) => ({
    name,
    type: columnType(type),
  }));
  const key = declaration.key.flatMap((wanted) => columns.filter(({ name }) => name === wanted));
  const values = columns.filter(({ name }) => !declaration.key.includes(name));
  return {
    ...plain,
    key: key.map(({ name, type }) => ({ name, type: `${type} NOT NULL` })),
    values,
    typed: true,
    codec: (present) => tableCodec({ key, values, rowBytesMax }, present),
  };
}

/** Types as SQLite spells them, by what PostgreSQL has for the same values. */
const spellings: readonly (readonly [RegExp, string])[] = [
  [/^\s*INTEGER\b/i, 'bigint'],
  [/^\s*(?:REAL\b|DOUBLE\b(?:\s+PRECISION\b)?|FLOAT\b(?!\s*\())/i, 'double precision'],
  [/^\s*BLOB\b/i, 'bytea'],
];

/** A column's declaration as it stands in CREATE TABLE. */
function columnType(type: string): string {
  for (const [spelled, meant] of spellings)
    if (spelled.test(type)) return type.replace(spelled, meant);
  return type;
}

function field(name: string, path: string, check: string): DerivedColumn {
  return { name, type: `text COLLATE "C"${check}`, expression: `document ->> ${literal(path)}` };
}
