import assert from 'node:assert/strict';
import { decodeKey, decodeRow, encodeKey, encodeValue } from '../core/codec.ts';
import { errorText, isTallyError, type ErrorCode } from '../core/errors.ts';
import type { Identity } from '../core/position.ts';
import { ORDINAL_MAX } from '../core/position.ts';
import type { Key, Row } from '../core/row.ts';
import type { Write } from '../core/write.ts';
import { foldChange, prepareBatch } from '../flow/batch.ts';
import type { FlowDefinition, Put } from '../flow/definition.ts';
import { BatchState } from '../flow/fold-state.ts';
import { targetShapes } from '../flow/generation.ts';
import { unitName } from '../flow/parked.ts';
import { projectRow, stamped, writeName } from '../flow/project.ts';
import { recordOf } from '../flow/record.ts';
import type { SinkSession, StateWrite } from '../ports/sink.ts';
import { systemClock } from '../runtime/clock.ts';
import { systemRandom } from '../runtime/random.ts';
import { memory } from '../stores/memory/index.ts';
import { SourceRows, type GivenRow, type WrittenRow } from './source-rows.ts';

const EPOCH = 1;
/** The story is a history of its own: the snapshot stands at 1, transactions follow. */
const SNAPSHOT_OFFSET = 1;

/** A change that the flow would have parked, by the row it holds back. */
export interface ParkedRow {
  /** As `tally parked` names it: `source products ["a"]`, or `target documents ["a"]`. */
  readonly unit: string;
  /** Why; undefined for a change that only queues behind an earlier one. */
  readonly code: ErrorCode | undefined;
  readonly message: string | undefined;
}

/** What a story came to. */
export interface Outcome {
  /** Every row of every target, in the order of target and key. */
  readonly rows: readonly Put[];
  readonly parked: readonly ParkedRow[];
}

/** A story about a projection: what the source had, what happened to it, and what the targets then hold. */
export interface ProjectionStory {
  /** Rows that are there when the flow begins. All of a story's come before its transactions. */
  given(...rows: readonly GivenRow[]): ProjectionStory;
  /** One transaction of the source. Call it again for the next one. */
  when(...changes: readonly WrittenRow[]): ProjectionStory;
  /**
   * Resolves if the targets hold exactly these rows and nothing was parked; rejects with node's
   * AssertionError and its difference otherwise. Not named `then`: a story is no promise.
   */
  thenHolds(...rows: readonly Put[]): Promise<void>;
  /** Resolves if exactly these were parked, in order, and the targets hold exactly these rows. */
  thenParks(
    parked: readonly { readonly unit: string; readonly code?: ErrorCode }[],
    ...rows: readonly Put[]
  ): Promise<void>;
  /** What the story comes to, for assertions of your own. Throws CONFIG_INVALID for a story that no source can tell. */
  run(): Promise<Outcome>;
}

/**
 * Tells a story about the projection of a flow, with the code that runs it in production and a target in
 * memory: rows are compared, collapsed and fenced as they would be. A row projection is asked twice about
 * each row and must answer the same: it may not look at a clock or at randomness. Works in any test runner.
 *
 * What it does not do: it knows nothing of the target's own limits (columns, sizes, constraints), of
 * restarts or of concurrency; for those run the flow on its stores.
 *
 * @example
 * await projection(productSearch)
 *   .given(existing('products', ['a'], { sku: 'a', title: 'Lamp' }))
 *   .when(updated('products', ['a'], { sku: 'a', title: 'Desk lamp' }))
 *   .thenHolds(put('documents', ['a'], { title: 'Desk lamp' }));
 */
export function projection(definition: FlowDefinition): ProjectionStory {
  return new Story(definition, [], []);
}

class Story implements ProjectionStory {
  readonly #definition: FlowDefinition;
  readonly #given: readonly GivenRow[];
  readonly #transactions: readonly (readonly WrittenRow[])[];

  constructor(
    definition: FlowDefinition,
    given: readonly GivenRow[],
    transactions: readonly (readonly WrittenRow[])[],
  ) {
    this.#definition = definition;
    this.#given = given;
    this.#transactions = transactions;
  }

  given(...rows: readonly GivenRow[]): ProjectionStory {
    return new Story(this.#definition, [...this.#given, ...rows], this.#transactions);
  }

  when(...changes: readonly WrittenRow[]): ProjectionStory {
    return new Story(this.#definition, this.#given, [...this.#transactions, changes]);
  }

  async thenHolds(...rows: readonly Put[]): Promise<void> {
    await this.thenParks([], ...rows);
  }

  async thenParks(
    parked: readonly { readonly unit: string; readonly code?: ErrorCode }[],
    ...rows: readonly Put[]
  ): Promise<void> {
    const outcome = await this.run();
    const found = outcome.parked.map(({ unit, code }) => named(unit, code));
    const wanted = parked.map(({ unit, code }) => named(unit, code));
    const reasons = outcome.parked.flatMap(({ message }) => message ?? []).join('\n');
    assert.deepEqual(found, wanted, reasons === '' ? undefined : `what was parked: ${reasons}`);
    assert.deepEqual(byName(outcome.rows), byName(rows));
  }

  async run(): Promise<Outcome> {
    const { into } = this.#definition;
    const definition = askedTwice(this.#definition);
    const rows = new SourceRows(definition.tables);
    await using store = await memory().open({
      name: definition.to,
      clock: systemClock,
      random: systemRandom,
    });
    await using session = await store.sink.open({
      flow: 'story',
      generation: 1,
      targets: targetShapes(definition),
      workerEpoch: 1,
    });
    const telling = new Telling(definition, session);
    for (const row of this.#given) rows.add(row);
    await telling.snapshot(this.#given);
    for (const [index, changes] of this.#transactions.entries()) {
      const offset = SNAPSHOT_OFFSET + 1 + index;
      const entries = changes.map((change, ordinal) => rows.entry(change, offset, ordinal));
      await telling.transaction([
        ...entries,
        { kind: 'commit', offset, changes: entries.length, committedAtMs: 0, token: '' },
      ]);
    }
    const held = [...into].toSorted().flatMap((target) =>
      Array.from(store.client.rows(target), ([key, row]) => ({
        target,
        key: decodeKey(key),
        row,
      })),
    );
    return { rows: held, parked: telling.parked };
  }
}

/** The flow's own steps, one batch for each transaction. */
class Telling {
  readonly parked: ParkedRow[] = [];
  readonly #definition: FlowDefinition;
  readonly #session: SinkSession;
  readonly #units = new Set<string>();
  #last: Identity | undefined;

  constructor(definition: FlowDefinition, session: SinkSession) {
    this.#definition = definition;
    this.#session = session;
  }

  async snapshot(given: readonly GivenRow[]): Promise<void> {
    const at: Identity = { epoch: EPOCH, offset: SNAPSHOT_OFFSET, ordinal: ORDINAL_MAX };
    const state = this.#state();
    const writes = new Map<string, Write>();
    for (const { table, key, row } of given) {
      try {
        for (const item of await this.#read(table, key, row, at, state))
          writes.set(writeName(item.target, encodeKey(item.key)), stamped(item, at, 'snapshot'));
        state?.keep();
      } catch (error) {
        state?.discard();
        this.#park(unitName({ by: 'source', table, key: encodeKey(key) }), error);
      }
    }
    await this.#apply([...writes.values()], state?.writes() ?? [], at);
  }

  async transaction(entries: readonly Parameters<typeof recordOf>[0][]): Promise<void> {
    const state = this.#state();
    const prepared = await prepareBatch(
      entries.map((entry) => recordOf(entry, EPOCH)),
      {
        definition: this.#definition,
        lane: this.#definition.from,
        clock: systemClock,
        after: this.#last,
        continues: () => false,
        isParked: this.#units.size === 0 ? undefined : (unit) => this.#units.has(unit),
        state,
      },
    );
    for (const { unit, error } of prepared.parked) {
      this.#units.add(unitName(unit));
      const code = error?.code as ErrorCode | undefined;
      this.parked.push({ unit: unitName(unit), code, message: error?.message });
    }
    await this.#apply(prepared.writes, prepared.state, prepared.last);
  }

  #state(): BatchState | undefined {
    return this.#definition.projection.kind === 'fold' ? new BatchState(this.#session) : undefined;
  }

  async #read(
    table: string,
    key: Key,
    row: Row,
    at: Identity,
    state: BatchState | undefined,
  ): Promise<readonly Put[]> {
    const { projection: asked, from: lane, into } = this.#definition;
    const change = {
      ...at,
      lane,
      table,
      operation: 'read',
      key,
      before: null,
      after: row,
    } as const;
    return asked.kind === 'rows'
      ? projectRow(asked.project, change, into)
      : state === undefined
        ? []
        : foldChange(this.#definition, change, state);
  }

  async #apply(
    writes: readonly Write[],
    state: readonly StateWrite[],
    last: Identity | undefined,
  ): Promise<void> {
    const through = last;
    const checkpoint = { log: 0, last, through, backfill: undefined };
    const { failed } = await this.#session.apply({ writes, state, checkpoint });
    this.#last = last;
    if (failed.length === 0) return;
    for (const { index, error } of failed) {
      const write = writes[index];
      if (write === undefined) continue;
      const { target, key } = write;
      this.#park(unitName({ by: 'target', target, key: encodeKey(key) }), error);
    }
    const refused = new Set(failed.map(({ index }) => index));
    await this.#apply(
      writes.filter((_, index) => !refused.has(index)),
      state,
      last,
    );
  }

  #park(unit: string, error: unknown): void {
    this.#units.add(unit);
    const code = isTallyError(error) ? error.code : 'INTERNAL';
    this.parked.push({ unit, code, message: errorText(error) });
  }
}

/** A row projection that is asked twice and must answer the same. */
function askedTwice(definition: FlowDefinition): FlowDefinition {
  const { projection: asked } = definition;
  if (asked.kind === 'fold') return definition;
  return {
    ...definition,
    projection: {
      kind: 'rows',
      project: (row, change) => {
        const first = asked.project(row, change);
        assert.deepEqual(
          asked.project(row, change),
          first,
          'the projection answered differently when it was asked twice about one row: it must look at the row alone',
        );
        return first;
      },
    },
  };
}

function named(unit: string, code: ErrorCode | undefined): string {
  return code === undefined ? unit : `${unit}: ${code}`;
}

/** Rows by name, as the target would give them back: what an assertion shows when they differ. */
function byName(rows: readonly Put[]): Record<string, Row> {
  const entries = rows.map(({ target, key, row }) => [
    writeName(target, encodeKey(key)),
    decodeRow(encodeValue(row ?? {})),
  ]);
  return Object.fromEntries(entries) as Record<string, Row>;
}
