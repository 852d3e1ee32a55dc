import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { EventStore } from 'tallystick';
import { aggregates, decider, keyValueSnapshots } from 'tallystick/events';
import { postgres } from 'tallystick/postgres';
import { sqlite } from 'tallystick/sqlite';
import type { KeyValue } from '../../src/ports/key-value.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';

/*
 * One stream of a million events: appended, replayed, loaded with a snapshot and read in the order of all, in a heap that
 * could not hold a tenth of it: `npm run events:million [-- --events N --postgres URL]`. Prints one line of JSON.
 */
const { values } = parseArgs({
  options: { events: { type: 'string', default: '1000000' }, postgres: { type: 'string' } },
});
const count = Number(values.events);
const context = { name: 'bank', clock: systemClock, random: systemRandom };

type Counter = {
  readonly command: number;
  readonly state: { readonly total: number; readonly events: number };
  readonly event: { readonly type: 'counted'; readonly data: { by: number; note: string } };
};

const counter = decider<Counter>({
  category: 'counter',
  initial: { total: 0, events: 0 },
  decide: (by) => [{ type: 'counted', data: { by, note: 'one more' } }],
  evolve: ({ total, events }, { data }) => ({ total: total + data.by, events: events + 1 }),
  events: { counted: {} },
  snapshot: { every: 1_000, version: 1 },
});

let peakBytes = 0;

function watch(): void {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}

async function timed<Result>(work: () => Promise<Result>): Promise<[Result, number]> {
  const startedMs = performance.now();
  const result = await work();
  watch();
  return [result, (performance.now() - startedMs) / 1_000];
}

function check(what: string, found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`${what}: ${found}, not ${wanted}`);
}

async function fill(events: EventStore): Promise<void> {
  const step = 1_000;
  for (let from = 0; from < count; from += step) {
    const batch = Array.from({ length: Math.min(step, count - from) }, (_, index) => ({
      type: 'counted',
      data: { by: (from + index) % 7, note: 'x'.repeat(100) },
    }));
    await events.append('counter-one', batch, { expected: from });
    watch();
  }
}

async function readAll(events: EventStore): Promise<number> {
  let read = 0;
  for await (const page of events.readAll()) {
    for (const { position } of page.events) check('position', position, (read += 1));
    watch();
  }
  return read;
}

async function run(events: EventStore, keyValue: KeyValue): Promise<unknown> {
  const wanted = Array.from({ length: 7 }, (_, by) => by * Math.ceil((count - by) / 7)).reduce(
    (sum, part) => sum + part,
  );
  const [, appendSeconds] = await timed(() => fill(events));
  const counters = aggregates(counter, { events, snapshots: keyValueSnapshots(keyValue) });
  const [replayed, replaySeconds] = await timed(() => counters.rebuildState('one'));
  check('total of the replay', replayed.state.total, wanted);
  check('version', replayed.version, count);
  // The first load finds no snapshot, and leaves one.
  check('total of the load', (await counters.load('one')).state.total, wanted);
  const [loaded, loadSeconds] = await timed(() => counters.load('one'));
  check('total from the snapshot', loaded.state.total, wanted);
  const [handled, handleSeconds] = await timed(() => counters.handle('one', 5, { key: 'k' }));
  check('version after a command', handled.version, count + 1);
  check('total after a command', handled.state.total, wanted + 5);
  const [half] = await timed(() => counters.rebuildState('one', { toVersion: count / 2 }));
  check('events of half', half.state.events, count / 2);
  const [read, readSeconds] = await timed(() => readAll(events));
  check('events in order', read, count + 1);
  return {
    events: count,
    appendPerSecond: Math.round(count / appendSeconds),
    replayPerSecond: Math.round(count / replaySeconds),
    readAllPerSecond: Math.round(count / readSeconds),
    loadWithSnapshotMs: Math.round(loadSeconds * 10_000) / 10,
    commandMs: Math.round(handleSeconds * 10_000) / 10,
    rssPeakMiB: Math.round(peakBytes / 1024 ** 2),
  };
}

if (values.postgres === undefined) {
  const dir = await mkdtemp(join(tmpdir(), 'tally-million-'));
  try {
    await using bank = await sqlite({ file: join(dir, 'bank.db'), capture: 'events' }).open(
      context,
    );
    await using desk = await sqlite({ file: join(dir, 'desk.db') }).open(context);
    console.log(
      JSON.stringify({ engine: 'sqlite', ...((await run(bank.events, desk.keyValue)) as object) }),
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
} else {
  await using bank = await postgres({ url: values.postgres, capture: 'events' }).open(context);
  console.log(
    JSON.stringify({ engine: 'postgres', ...((await run(bank.events, bank.keyValue)) as object) }),
  );
}
