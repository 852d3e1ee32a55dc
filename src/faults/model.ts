import { decodeRow, decodeValue, encodeKey, encodeValue } from '../core/codec.ts';
import type { Key, Row } from '../core/row.ts';

/** The tables of the simulated application. */
export type TableName = 'items' | 'lines';

/** One row that a transaction changed. */
export interface ModelChange {
  readonly table: TableName;
  readonly key: string;
  readonly after: string | null;
}

/** Which flow fills a target, and whether it folds. */
export const targets = {
  documents: { flow: 'documents', folded: false },
  tags: { flow: 'tags', folded: false },
  totals: { flow: 'totals', folded: true },
} as const;
export type TargetName = keyof typeof targets;

interface Version {
  /** The number of the commit, over all histories of the source. */
  readonly commit: number;
  readonly text: string | null;
}

/** The row of each target that one item stands for; written down apart from the flows, on purpose. */
function rowsOfItem(row: Row): readonly (readonly [TargetName, string, string])[] {
  const { id = null, v = null, title = null } = row;
  const rows: [TargetName, string, string][] = [
    ['documents', encodeKey([id as string]), encodeValue({ id, title, v })],
  ];
  for (const tag of row['tags'] as readonly string[])
    rows.push(['tags', encodeKey([tag, id as string]), encodeValue({ v })]);
  return rows;
}

/**
 * What every target row should have been after every change of the source: the oracle. It is told of
 * each commit, knows nothing of flows, logs or checkpoints, and recomputes.
 */
export class Model {
  readonly #tables: Record<TableName, Map<string, string>> = { items: new Map(), lines: new Map() };
  readonly #versions = new Map<TargetName, Map<string, Version[]>>();
  readonly #commits: { readonly history: string; readonly offset: number }[] = [];
  /** The history that another one goes on from, and the last offset of both. */
  readonly #forks = new Map<string, { readonly from: string; readonly upTo: number }>();

  /** The number of the newest commit. */
  get commits(): number {
    return this.#commits.length;
  }

  /** Takes a commit up, change by change: a target may show what lies within a transaction. */
  commit(history: string, offset: number, changes: readonly ModelChange[]): number {
    this.#commits.push({ history, offset });
    for (const change of changes) this.#change(change);
    return this.#commits.length;
  }

  /** The number of the newest commit at or before an offset of a history; 0 if there is none. */
  numberOf(history: string, offset: number): number {
    const index = this.#commits.findLastIndex(
      (commit) => commit.history === history && commit.offset <= offset,
    );
    const fork = this.#forks.get(history);
    if (index !== -1 || fork === undefined) return index + 1;
    return this.numberOf(fork.from, Math.min(offset, fork.upTo));
  }

  /** A history begins that contains another one up to an offset. */
  fork(history: string, from: string, upTo: number): void {
    this.#forks.set(history, { from, upTo });
  }

  /** Whether a history contains all of another one that was captured. */
  contains(history: string, other: string | undefined): boolean {
    if (history === other) return true;
    const fork = this.#forks.get(history);
    return fork !== undefined && this.contains(fork.from, other);
  }

  /** Keys of a target that ever had a row. */
  keys(target: TargetName): readonly string[] {
    return [...(this.#versions.get(target)?.keys() ?? [])];
  }

  /**
   * Which version of a target row this is: the latest with this text, or -2 if there never was one.
   * -1 is the absence before the first.
   */
  versionOf(target: TargetName, key: string, text: string | null): number {
    const versions = this.#versions.get(target)?.get(key) ?? [];
    const index = versions.findLastIndex((version) => version.text === text);
    return index === -1 ? (text === null ? -1 : -2) : index;
  }

  /** The first version from `from` on with this text; undefined if there is none. */
  versionFrom(
    target: TargetName,
    key: string,
    text: string | null,
    from: number,
  ): number | undefined {
    if (from < 0 && text === null) return -1;
    const versions = this.#versions.get(target)?.get(key) ?? [];
    const index = versions.findIndex((version, place) => place >= from && version.text === text);
    return index === -1 ? undefined : index;
  }

  /** The version that a target row had after a commit. */
  versionAt(target: TargetName, key: string, commit: number): number {
    const versions = this.#versions.get(target)?.get(key) ?? [];
    return versions.findLastIndex((version) => version.commit <= commit);
  }

  /** The rows that a target should hold now, computed from the tables. */
  expected(target: TargetName): ReadonlyMap<string, string> {
    return expectedRows(target, this.#tables);
  }

  /** The rows of a table as the model has them, to be compared with those of the store. */
  table(name: TableName): ReadonlyMap<string, string> {
    return this.#tables[name];
  }

  #change({ table, key, after }: ModelChange): void {
    const rows = this.#tables[table];
    const before = rows.get(key) ?? null;
    if (after === null) rows.delete(key);
    else rows.set(key, after);
    if (table === 'items') this.#changeItem(before, after);
    else this.#changeLine(before, after);
  }

  #changeItem(before: string | null, after: string | null): void {
    const now = after === null ? [] : rowsOfItem(decodeRow(after));
    const old = before === null ? [] : rowsOfItem(decodeRow(before));
    for (const [target, key] of old)
      if (!now.some((row) => row[0] === target && row[1] === key)) this.#push(target, key, null);
    for (const [target, key, text] of now) this.#push(target, key, text);
  }

  #changeLine(before: string | null, after: string | null): void {
    const groups = new Set(
      [before, after].flatMap((text) => (text === null ? [] : [groupOf(text)])),
    );
    const rows = expectedRows('totals', this.#tables);
    for (const key of groups) this.#push('totals', key, rows.get(key) ?? null);
  }

  #push(target: TargetName, key: string, text: string | null): void {
    const keys = this.#versions.get(target) ?? new Map<string, Version[]>();
    this.#versions.set(target, keys);
    const versions = keys.get(key) ?? [];
    keys.set(key, versions);
    versions.push({ commit: this.#commits.length, text });
  }
}

function groupOf(line: string): string {
  return encodeKey([decodeRow(line)['group'] as string]);
}

/** The rows of one target, recomputed from whole tables. */
export function expectedRows(
  target: TargetName,
  tables: Readonly<Record<TableName, ReadonlyMap<string, string>>>,
): ReadonlyMap<string, string> {
  const rows = new Map<string, string>();
  if (target !== 'totals') {
    for (const text of tables.items.values())
      for (const [name, key, row] of rowsOfItem(decodeRow(text)))
        if (name === target) rows.set(key, row);
    return rows;
  }
  const sums = new Map<string, { count: number; sum: number }>();
  for (const text of tables.lines.values()) {
    const key = groupOf(text);
    const { count, sum } = sums.get(key) ?? { count: 0, sum: 0 };
    sums.set(key, { count: count + 1, sum: sum + Number(decodeRow(text)['amount']) });
  }
  for (const [key, value] of sums) rows.set(key, encodeValue({ ...value }));
  return rows;
}

/** The target rows that a source row stands for, as far as its key tells. */
export function touches(
  target: TargetName,
  key: string,
  table: string,
  sourceKey: string,
): boolean {
  if (table === 'lines') return target === 'totals';
  const [id] = decodeValue(sourceKey) as Key;
  const parts = decodeValue(key) as Key;
  return target === 'documents' ? parts[0] === id : target === 'tags' && parts[1] === id;
}
