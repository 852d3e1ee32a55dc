import { encodeKey, encodeValue } from '../core/codec.ts';
import type { ModelChange, TableName } from './model.ts';
import type { World } from './world.ts';

const IDS = 9;
const TAGS = ['red', 'green', 'blue'] as const;
const GROUPS = ['north', 'south'] as const;

/** The transactions of the simulated application: every row it writes is told apart by its `v`. */
export class Workload {
  readonly #world: World;
  #v = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** A transaction of some changes; keys come again on purpose. */
  transaction(size: number): readonly ModelChange[] {
    const pending = new Map<string, string | null>();
    const changes: ModelChange[] = [];
    while (changes.length < size) {
      for (const change of this.#changes(pending)) {
        pending.set(`${change.table} ${change.key}`, change.after);
        changes.push(change);
      }
    }
    return changes;
  }

  /** The ids of the items and lines, whether they are there or not. */
  id(): string {
    const table = this.#world.chance(0.6) ? 'i' : 'l';
    return `${table}${this.#world.between(1, IDS)}`;
  }

  #changes(pending: ReadonlyMap<string, string | null>): readonly ModelChange[] {
    const world = this.#world;
    const table: TableName = world.chance(0.6) ? 'items' : 'lines';
    const id = `${table === 'items' ? 'i' : 'l'}${world.between(1, IDS)}`;
    const before = this.#row(table, id, pending);
    if (before === null) return [this.#written(table, id)];
    const kind = world.random.next();
    if (kind < 0.2) return [{ table, key: encodeKey([id]), after: null }];
    const other = `${id[0] ?? ''}${world.between(1, IDS)}`;
    // The key changes: one row goes, another comes.
    if (kind < 0.3 && this.#row(table, other, pending) === null)
      return [{ table, key: encodeKey([id]), after: null }, this.#written(table, other)];
    return [this.#written(table, id)];
  }

  #row(table: TableName, id: string, pending: ReadonlyMap<string, string | null>): string | null {
    const key = encodeKey([id]);
    const seen = pending.get(`${table} ${key}`);
    return seen === undefined ? (this.#world.model.table(table).get(key) ?? null) : seen;
  }

  #written(table: TableName, id: string): ModelChange {
    const world = this.#world;
    this.#v += 1;
    const row =
      table === 'items'
        ? { id, tags: TAGS.filter(() => world.chance(0.4)), title: `T${this.#v}`, v: this.#v }
        : { id, group: world.pick(GROUPS) ?? 'north', amount: world.between(1, 50), v: this.#v };
    return { table, key: encodeKey([id]), after: encodeValue(row) };
  }
}
