import { expect, test } from 'vitest';
import { virtualClock } from '../faults/virtual-clock.ts';
import { seededRandom } from '../runtime/random.ts';
import { takeLease } from '../runtime/lease.ts';
import { createMemoryState, memory, memoryLedger, memoryLog } from '../stores/memory/index.ts';
import { flow, put } from './definition.ts';
import { Generation, type FlowParts } from './generation.ts';
import { parkedChange } from './parked.ts';
import { recordOf } from './record.ts';
import { retryParked } from './retry-parked.ts';

const clock = virtualClock();
const random = seededRandom('retry');

async function counting(): Promise<Generation> {
  const context = { name: 'store', clock, random };
  const { source } = await memory().open(context);
  const { sink } = await memory().open(context);
  const ledger = memoryLedger({ state: createMemoryState() });
  const { signal } = new AbortController();
  const lease = await takeLease({
    ledger,
    clock,
    lease: 'flow/counts',
    owner: 'one',
    isDead: () => false,
    signal,
  });
  const nothing = (): void => undefined;
  const parts: FlowParts = {
    name: 'counts',
    lane: 'orders',
    source,
    sink,
    log: memoryLog({ state: createMemoryState() }),
    ledger,
    clock,
    random,
    observer: { state: nothing, applied: nothing, progress: nothing, parked: nothing },
    definition: flow({
      from: 'orders',
      tables: ['lines'],
      to: 'views',
      into: 'counts',
      fold: {
        apply: async (_, state) => {
          const n = Number((await state.get('n')) ?? 0) + 1;
          state.set('n', n);
          return put('counts', ['all'], { n });
        },
      },
    }),
  };
  return Generation.open(parts, 1, lease);
}

/** A change of one line, parked because its projection threw. */
function parkedAt(offset: number) {
  const entry = { kind: 'change', offset, ordinal: 0, table: 'lines' } as const;
  const row = { key: '["a"]', before: null, after: '{"id":"a"}' } as const;
  const record = recordOf({ ...entry, ...row, operation: 'create' }, 1);
  const unit = { by: 'source', table: 'lines', key: '["a"]' } as const;
  return parkedChange(unit, record, clock, new Error('poison'));
}

test('a fold takes a parked change back only once the checkpoint has passed it: the stream would fold it in again', async () => {
  await using generation = await counting();
  const [passed, ahead] = [parkedAt(5), parkedAt(9)];
  await generation.parked.park([passed, ahead]);
  const last = { epoch: 1, offset: 7, ordinal: 0 };
  await generation.moveCheckpoint({ log: 3, last, through: undefined, backfill: undefined });
  const { signal } = new AbortController();
  const done = await retryParked(generation, await generation.parked.list(), signal);
  expect(done.map(({ offset }) => offset)).toEqual([5]);
  expect(await generation.session.readState(['n'])).toEqual(['1']);
});
