import { decodeRow } from '../../core/codec.ts';
import { TallyError } from '../../core/errors.ts';
import type { Row } from '../../core/row.ts';
import type { Connection, MemoryState, VersionedRow } from './state.ts';

/** How a table of the memory store is made. */
export interface MemoryTable {
  /** The columns of the primary key, in order; with none the table cannot be captured. */
  readonly key: readonly string[];
  /** For who asks for the shape; rows may have others. Not given: those of the key. */
  readonly columns?: readonly string[];
}

/** What users of a memory store hold in their hands: its tables, and the targets that flows fill. */
export interface MemoryClient {
  readonly state: MemoryState;
  /** Makes a table. Throws CONFIG_INVALID if there is one of that name already. */
  createTable(name: string, table: MemoryTable): void;
  /** The rows of a target as its readers see them, or of a table, by the canonical text of their key. */
  rows(name: string): ReadonlyMap<string, Row>;
}

/** The client of one connection. Throws STORE_CLOSED after its end. */
export function memoryClient(connection: Connection): MemoryClient {
  const { state } = connection;
  return {
    state,
    createTable(name, table) {
      connection.check();
      if (state.source.tables.has(name))
        throw new TallyError('CONFIG_INVALID', {
          what: `there is a table ${name} already`,
          where: connection.name,
        });
      addTable(state, name, table);
    },
    rows(name) {
      connection.check();
      return new Map(
        [...(visibleTexts(state, name) ?? [])].map(([key, text]) => [key, decodeRow(text)]),
      );
    },
  };
}

/** Adds a table to the state. */
export function addTable(state: MemoryState, name: string, table: MemoryTable): void {
  const { key, columns = key } = table;
  state.source.tables.set(name, { name, key: [...key], columns: [...columns], rows: new Map() });
}

/** Rows as canonical text: of the visible generation of the flow that fills `name`, or of the table `name`; undefined if there is neither. */
export function visibleTexts(
  state: MemoryState,
  name: string,
): ReadonlyMap<string, string> | undefined {
  for (const { visible, generations } of state.flows.values()) {
    const rows = generations.get(visible)?.targets.get(name);
    if (rows !== undefined) return withoutTombstones(rows);
  }
  return state.source.tables.get(name)?.rows;
}

function withoutTombstones(rows: ReadonlyMap<string, VersionedRow>): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const [key, { row }] of rows) if (row !== null) texts.set(key, row);
  return texts;
}
