import { expect, test } from 'vitest';
import { encodeKey } from '../core/codec.ts';
import { systemClock } from '../runtime/clock.ts';
import { takeLease } from '../runtime/lease.ts';
import { seededRandom } from '../runtime/random.ts';
import { createMemoryState, memory, memoryLedger, memoryLog } from '../stores/memory/index.ts';
import { backfill, needsBackfill } from './backfill.ts';
import { flow, put } from './definition.ts';
import { Generation, type FlowParts } from './generation.ts';
import { recordOf } from './record.ts';

const clock = systemClock;
const random = seededRandom('backfill');
const quiet: FlowParts['observer'] = {
  state: () => undefined,
  applied: () => undefined,
  progress: () => undefined,
  parked: () => undefined,
};

/** A flow of items to their tags, one row to a batch; a session that comes upon `dies` ends there. */
async function tagging() {
  const { signal } = new AbortController();
  const items = createMemoryState();
  const { source } = await memory({ state: items, tables: { items: { key: ['id'] } } }).open({
    name: 'orders',
    clock,
    random,
  });
  await source.prepare(['items']);
  const tags = createMemoryState();
  const { sink } = await memory({ state: tags }).open({ name: 'search', clock, random });
  const log = memoryLog({ state: createMemoryState() });
  const appender = await log.openAppender(1);
  const ledger = memoryLedger({ state: createMemoryState() });
  const lease = await takeLease({
    ledger,
    clock,
    lease: 'flow/tags',
    owner: 'one',
    isDead: () => false,
    signal,
  });
  const session = { dies: '', ending: new AbortController() };
  const definition = flow({
    from: 'orders',
    tables: ['items'],
    to: 'search',
    into: 'tags',
    batchRows: 1,
    project: ({ id, tags: names, v }) => {
      if (id === session.dies) session.ending.abort();
      return (names as string[]).map((tag) => put('tags', [tag, id as string], { v: v ?? null }));
    },
  });
  const parts: FlowParts = {
    name: 'tags',
    definition,
    lane: 'orders',
    source,
    sink,
    log,
    ledger,
    clock,
    random,
    observer: quiet,
  };
  const generation = await Generation.open(parts, 1, lease);
  return {
    generation,
    signal,
    /** Writes an item, and has it in the log. */
    write: async (id: string, v: number, names: readonly string[]) => {
      const { offset } = await source.write((tx) => tx.put('items', { id, v, tags: [...names] }));
      const { entries } = items.source.transactions.find((held) => held.offset === offset) ?? {};
      await appender.append((entries ?? []).map((entry) => recordOf(entry, 1)));
    },
    /** Runs a backfill until it comes upon an item, as if the worker died behind it. */
    diesAt: async (id: string) => {
      session.dies = id;
      await expect(backfill(generation, 1, session.ending.signal)).rejects.toThrow('aborted');
      session.dies = '';
    },
    row: (tag: string, id: string) =>
      tags.flows
        .get('tags')
        ?.generations.get(1)
        ?.targets.get('tags')
        ?.get(encodeKey([tag, id]))?.row ?? null,
    /** Calls back after every step of the target. */
    watch: (look: () => void) => {
      tags.hook = { after: look };
    },
    /** Applies the log to its end. */
    drain: async () => {
      const { next } = await log.extent();
      const until = () => (generation.checkpoint?.log ?? 0) >= next;
      if (!until()) await generation.stream(signal, { until });
    },
  };
}

test('a row that was read away in a later session goes when the stream comes to it, not before and back', async () => {
  const { generation, signal, write, diesAt, row, watch, drain } = await tagging();
  await write('a', 1, []);
  await write('b', 2, ['red']);
  await backfill(generation, 1, signal);
  expect(generation.checkpoint?.backfill).toMatchObject({ state: 'done', atMin: 2, atMax: 2 });

  // It begins again (the log was too short, say), and its first session never comes to b.
  await write('a', 3, ['blue']);
  await diesAt('a');
  await write('b', 4, ['red']);
  await write('b', 5, []);
  const seen = [row('red', 'b')];
  watch(() => {
    if (row('red', 'b') !== seen.at(-1)) seen.push(row('red', 'b'));
  });
  await backfill(generation, 1, signal);
  expect(generation.checkpoint).toMatchObject({
    through: undefined,
    backfill: { state: 'unswept', atMin: 3, atMax: 5 },
  });
  expect(needsBackfill(generation, { epoch: 1, history: 'h' }, 0)).toBe(false);

  await drain();
  expect(seen).toEqual(['{"v":2}', '{"v":4}', null]);
  expect(generation.checkpoint).toMatchObject({
    through: { epoch: 1, offset: 5 },
    backfill: { state: 'done' },
  });
});

test('a row that several sessions did not see and no change tells of is swept once the stream has passed them', async () => {
  const { generation, signal, write, diesAt, row, drain } = await tagging();
  await write('a', 1, ['blue']);
  await generation.session.apply({
    writes: [
      // Of a source row that was deleted in a gap of the log.
      {
        target: 'tags',
        key: ['red', 'gone'],
        row: { v: 0 },
        epoch: 1,
        offset: 1,
        ordinal: 0,
        mode: 'stream',
      },
    ],
    state: [],
    checkpoint: { log: 0, last: undefined, through: undefined, backfill: undefined },
  });
  await write('b', 2, ['green']);
  await diesAt('a');
  await write('b', 3, ['red']);
  await backfill(generation, 1, signal);
  expect(row('red', 'gone')).toBe('{"v":0}');
  await drain();
  expect(row('red', 'gone')).toBe(null);
  expect([row('blue', 'a'), row('red', 'b')]).toEqual(['{"v":1}', '{"v":3}']);
  expect(generation.checkpoint?.through).toEqual({ epoch: 1, offset: 3 });
});
