import { TallyError } from '../../core/errors.ts';
import type { Key, Row } from '../../core/row.ts';
import type { Scan, ScanOptions } from '../../ports/scan.ts';
import type { Database } from './database.ts';
import type { DuckdbParameter, DuckdbStream } from './driver.ts';
import type { Layout } from './layout.ts';
import { literal, quote } from './targets.ts';

interface ScannedRow {
  readonly key: Key;
  readonly row: Row;
}

/**
 * Reads targets as they were when the scan began, in the order of the key columns: numbers by value,
 * text by its bytes; in a documents table by the bytes of the key's canonical text. One sorted pass,
 * spilled to disk where it does not fit in memory; its connection is held until the last page is taken.
 */
export class DuckdbScan implements Scan {
  readonly #db: Database;
  readonly #layoutOf: (target: string) => Promise<Layout>;

  constructor(db: Database, layoutOf: (target: string) => Promise<Layout>) {
    this.#db = db;
    this.#layoutOf = layoutOf;
  }

  async *scan(target: string, options: ScanOptions): AsyncGenerator<readonly ScannedRow[]> {
    const { after, rowsMax, signal } = options;
    if (!Number.isSafeInteger(rowsMax) || rowsMax < 1)
      throw new TallyError('CONFIG_INVALID', {
        what: `${rowsMax} is not a number of rows`,
        where: 'scan.rowsMax',
        mend: 'give a whole number of at least 1',
      });
    assertWanted(signal);
    const layout = await this.layout(target);
    const { where, values } = afterKey(layout, after);
    const connection = await this.#db.beginScan();
    try {
      const order = layout.key.map(({ name }) => quote(name)).join(', ');
      const sql = `SELECT ${selected(layout)} FROM ${quote(target)}${where} ORDER BY ${order}`;
      const stream = await this.#db.guard(() => connection.stream(sql, values));
      let page: ScannedRow[] = [];
      for await (const read of this.#rowsOf(stream)) {
        page.push(layout.decode(read));
        if (page.length < rowsMax) continue;
        yield page;
        assertWanted(signal);
        page = [];
      }
      if (page.length > 0) yield page;
    } finally {
      this.#db.endScan(connection);
    }
  }

  async count(target: string): Promise<number> {
    await this.layout(target);
    const [row] = await this.#db.read(`SELECT count(*) FROM ${quote(target)}`);
    return Number(row?.[0] ?? 0);
  }

  async *#rowsOf(stream: DuckdbStream): AsyncGenerator<readonly unknown[]> {
    for (;;) {
      this.#db.assertOpen();
      const chunk = await this.#db.guard(() => stream.fetchChunk());
      if (chunk === null || chunk.rowCount === 0) return;
      yield* chunk.getRows();
    }
  }

  /** The layout of a target that readers can see. Throws TABLE_UNKNOWN. */
  async layout(target: string): Promise<Layout> {
    const rows = await this.#db.read(
      `SELECT 1 FROM _tally.targets WHERE target = ${literal(target)} LIMIT 1`,
    );
    if (rows.length > 0) return this.#layoutOf(target);
    throw new TallyError('TABLE_UNKNOWN', {
      what: `no flow has opened the target ${JSON.stringify(target.slice(0, 40))}`,
      where: this.#db.file,
      mend: 'check the spelling, or start the flow that writes it first',
      details: { target },
    });
  }
}

/** The declared columns, those that come out as DuckDB's text cast to it. */
function selected(layout: Layout): string {
  return layout.columns
    .map(({ name, codec }) => (codec.readAsText ? `CAST(${quote(name)} AS VARCHAR)` : quote(name)))
    .join(', ');
}

/** Compares column by column: (a > $1 OR (a = $1 AND (b > $2))). */
function afterKey(
  layout: Layout,
  after: Key | undefined,
): { readonly where: string; readonly values: DuckdbParameter[] } {
  if (after === undefined) return { where: '', values: [] };
  const parts = layout.keyValues(after);
  if (parts.length !== layout.key.length)
    throw new TallyError('CONFIG_INVALID', {
      what: `a key of ${parts.length} parts is not one of ${layout.key.length}`,
      where: `scan.after for ${layout.target}`,
      mend: 'give the key of a row that a scan returned',
    });
  const values = [...parts];
  let where = '';
  for (let index = layout.key.length - 1; index >= 0; index--) {
    const name = quote(layout.key[index]?.name ?? '');
    const beyond = `${name} > $${index + 1}`;
    where = where === '' ? `(${beyond})` : `(${beyond} OR (${name} = $${index + 1} AND ${where}))`;
  }
  return { where: ` WHERE ${where}`, values };
}

function assertWanted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new TallyError('ABORTED', { what: 'the scan was given up', cause: signal.reason });
}
