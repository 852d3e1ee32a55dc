import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeKey, encodeValue } from '../core/codec.ts';
import { compareIdentities, type Identity } from '../core/position.ts';
import type { Row } from '../core/row.ts';
import { virtualClock } from '../faults/virtual-clock.ts';
import type { LogRecord } from '../ports/log.ts';
import { prepareBatch, type PrepareOptions } from './batch.ts';
import { flow, put, type FlowDefinition } from './definition.ts';
import { unitName } from './parked.ts';
import { writeName } from './project.ts';
import { recordOf } from './record.ts';

/** One change of a story: a row of one of two tables, with a category that is part of the target's key. */
interface Step {
  readonly table: 'products' | 'others';
  readonly sku: string;
  readonly category: string;
  readonly kind: 'set' | 'delete' | 'poison';
  /** Whether its transaction ends here. */
  readonly ends: boolean;
}

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    table: fc.constantFrom('products', 'products', 'products', 'others'),
    sku: fc.constantFrom('a', 'b', 'c'),
    category: fc.constantFrom('x', 'y'),
    kind: fc.constantFrom('set', 'set', 'set', 'delete', 'poison'),
    ends: fc.boolean(),
  }),
  { maxLength: 40 },
);

function definition(): FlowDefinition {
  return flow({
    from: 'orders',
    tables: ['products'],
    to: 'search',
    into: 'documents',
    project: (row) => {
      if (row['poison'] === true) throw new Error('poisoned');
      return put('documents', [row['category'] as string, row['sku'] as string], row);
    },
  });
}

/** The records of a story, in two epochs if `newEpochAt` is within. */
function recordsOf(story: readonly Step[], newEpochAt: number): LogRecord[] {
  const present = new Map<string, Row>();
  const records: LogRecord[] = [];
  let place: Identity = { epoch: 1, offset: 1, ordinal: 0 };
  for (const [index, { table, sku, category, kind, ends }] of story.entries()) {
    if (index === newEpochAt) place = { epoch: 2, offset: 1, ordinal: 0 };
    const name = `${table} ${sku}`;
    const before = present.get(name) ?? null;
    const after = kind === 'delete' ? null : { sku, category, n: index, poison: kind === 'poison' };
    if (before === null && after === null) continue;
    if (after === null) present.delete(name);
    else present.set(name, after);
    const operation = before === null ? 'create' : after === null ? 'delete' : 'update';
    const text = (row: Row | null): string | null => (row === null ? null : encodeValue(row));
    records.push(
      recordOf(
        {
          ...place,
          kind: 'change',
          table,
          operation,
          key: encodeKey([sku]),
          before: text(before),
          after: text(after),
        },
        place.epoch,
      ),
    );
    place = { ...place, ordinal: place.ordinal + 1 };
    if (!ends) continue;
    const { offset, ordinal: changes } = place;
    records.push(
      recordOf({ kind: 'commit', offset, changes, committedAtMs: index, token: 't' }, place.epoch),
    );
    place = { ...place, offset: offset + 1, ordinal: 0 };
  }
  return records;
}

function optionsOf(after: Identity | undefined, parked: ReadonlySet<string>): PrepareOptions {
  return {
    definition: definition(),
    lane: 'orders',
    clock: virtualClock(),
    after,
    continues: () => false,
    isParked: parked.size === 0 ? undefined : (unit) => parked.has(unit),
    state: undefined,
  };
}

/** The same by the plainest means: one record at a time, nothing collapsed until the end. */
function model(records: readonly LogRecord[], after: Identity | undefined, parked: Set<string>) {
  const held = new Map<string, { row: Row | null; at: Identity }>();
  const queued: string[] = [];
  let taken = 0;
  let last = after;
  let through: { epoch: number; offset: number } | undefined;
  for (const record of records) {
    if (after !== undefined && record.epoch > after.epoch) break;
    taken += 1;
    if (after !== undefined && compareIdentities(record, after) <= 0) continue;
    const { epoch, offset, ordinal, kind } = record;
    last = { epoch, offset, ordinal };
    if (kind === 'commit') through = { epoch, offset };
    const change = JSON.parse(record.payload) as Record<'t' | 'k' | 'b' | 'a', never>;
    if (kind === 'commit' || change.t !== 'products') continue;
    const before = change.b as Row | null;
    const now = change.a as Row | null;
    const unit = unitName({ by: 'source', table: 'products', key: encodeKey(change.k) });
    const fails = before?.['poison'] === true || now?.['poison'] === true;
    if (parked.has(unit) || fails) {
      parked.add(unit);
      queued.push(`${unit} ${offset}.${ordinal}`);
      continue;
    }
    const at = { epoch, offset, ordinal };
    const name = (row: Row): string =>
      writeName('documents', encodeKey([row['category'] as string, row['sku'] as string]));
    if (before !== null && (now === null || name(now) !== name(before)))
      held.set(name(before), { row: null, at });
    if (now !== null) held.set(name(now), { row: now, at });
  }
  return { held, queued, taken, last, through };
}

test('a batch is what applying its records one by one would have left, collapsed to the last of each row', async () => {
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.nat(60),
      fc.nat(60),
      fc.subarray(['a', 'b', 'c']),
      async (story, cut, newEpochAt, held) => {
        const records = recordsOf(story, newEpochAt);
        const parked = new Set(held.map((sku) => `source products ["${sku}"]`));
        const cutAt = records[cut];
        const after =
          cutAt === undefined
            ? undefined
            : { epoch: cutAt.epoch, offset: cutAt.offset, ordinal: cutAt.ordinal };
        const prepared = await prepareBatch(records, optionsOf(after, new Set(parked)));
        const wanted = model(records, after, parked);

        const writes = prepared.writes.map(({ target, key, row, epoch, offset, ordinal, mode }) => {
          expect(mode).toBe('stream');
          return [writeName(target, encodeKey(key)), { row, at: { epoch, offset, ordinal } }];
        });
        expect(Object.fromEntries(writes)).toEqual(Object.fromEntries(wanted.held));
        expect(writes).toHaveLength(wanted.held.size);
        expect(prepared.taken).toBe(wanted.taken);
        expect(prepared.last).toEqual(wanted.last);
        expect(prepared.through).toEqual(wanted.through);
        expect(
          prepared.parked.map(
            ({ unit, offset, ordinal }) => `${unitName(unit)} ${offset}.${ordinal}`,
          ),
        ).toEqual(wanted.queued);
        for (const [index, { epoch, offset, ordinal }] of prepared.writes.entries())
          expect(prepared.origins[index]).toMatchObject({ epoch, offset, ordinal });
      },
    ),
  );
});

test('a change whose target row is parked queues behind it, with what it would have written', async () => {
  const records = recordsOf(
    [{ table: 'products', sku: 'a', category: 'x', kind: 'set', ends: true }],
    99,
  );
  const parked = new Set(['target documents ["x","a"]']);
  const prepared = await prepareBatch(records, optionsOf(undefined, parked));
  expect(prepared.writes).toEqual([]);
  expect(prepared.parked).toMatchObject([{ unit: { by: 'target', target: 'documents' } }]);
  expect(prepared.parked[0]?.error).toBeUndefined();
});

test('a record that is not a change is STORE_CORRUPT, with its place', async () => {
  const record: LogRecord = {
    kind: 'change',
    epoch: 1,
    offset: 5,
    ordinal: 0,
    payload: '{"t":"products","o":"y","k":[1],"b":null,"a":null}',
  };
  await expect(prepareBatch([record], optionsOf(undefined, new Set()))).rejects.toMatchObject({
    code: 'STORE_CORRUPT',
    message: expect.stringContaining('orders at 1.5.0'),
  });
});
