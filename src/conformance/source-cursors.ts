import assert from 'node:assert/strict';
import type { SourceCursor, SourceEntry } from '../ports/source.ts';
import { rejectsFenced } from './harness.ts';
import { rejects } from './sink-harness.ts';
import {
  changesOf,
  commitsOf,
  cursorAt,
  insert,
  isQuiet,
  told,
  update,
  type SourceBench,
  type SourceCase,
} from './source-harness.ts';

const bounds = { rowsMax: 1_000, bytesMax: 2 ** 20 };

/** Going on after a place, evidence of writes, waiting, letting go, histories. */
export const sourceCursorCases: readonly SourceCase[] = [
  {
    id: 'SO-020',
    policy: 'goes on after every commit with exactly what follows it',
    run: (bench) => goesOn(bench, { reopen: false }),
  },
  {
    id: 'SO-021',
    policy: 'goes on after every commit with exactly what follows it, after it was opened again',
    run: (bench) => goesOn(bench, { reopen: true }),
  },
  {
    id: 'SO-022',
    policy: 'yields a transaction whole again if the reader went away in the middle of it',
    run: async (bench) => {
      const first = await bench.commit(insert('first'));
      const after = cursorAt(commitsOf(await bench.collect(undefined, first)).at(-1));
      const end = await bench.commit(
        ...Array.from({ length: 20 }, (_, index) => insert(`row-${index}`)),
      );
      const { signal } = new AbortController();
      for await (const batch of bench.source.stream({
        after,
        rowsMax: 7,
        bytesMax: 2 ** 20,
        signal,
      })) {
        if (isQuiet(batch)) continue;
        assert.ok(changesOf(batch).length > 0);
        assert.equal(commitsOf(batch).length, 0, 'more than was asked for at once');
        break;
      }
      assert.equal(changesOf(await bench.collect(after, end)).length, 20);
    },
  },
  {
    id: 'SO-030',
    policy: 'returns what a transaction returned, and the offset of its own commit',
    run: async (bench) => {
      for (const sku of ['a', 'b', 'c']) {
        const { value, offset } = await bench.source.write(async (tx) => {
          await bench.subject.run(tx, insert(sku));
          return `placed ${sku}`;
        });
        assert.equal(value, `placed ${sku}`);
        assert.ok((await bench.source.head()) >= offset, 'the head is not behind a commit');
        await containsAt(bench, sku, offset);
      }
    },
  },
  {
    id: 'SO-031',
    policy: 'gives each of many concurrent writes the evidence of its own commit',
    run: async (bench) => {
      const skus = Array.from({ length: 20 }, (_, index) => `row-${index}`);
      const offsets = await Promise.all(
        skus.map((sku) => bench.commit(insert(sku), insert(`${sku}-second`))),
      );
      if (bench.hasOwnEvidence) assert.equal(new Set(offsets).size, skus.length);
      assert.ok((await bench.source.head()) >= Math.max(...offsets));
      for (const [index, sku] of skus.entries()) await containsAt(bench, sku, offsets[index] ?? -1);
      assert.equal(changesOf(await bench.collect(undefined, Math.max(...offsets))).length, 40);
    },
  },
  {
    id: 'SO-032',
    policy: 'misses nothing of a transaction that began early and commits late',
    run: async (bench) => {
      let began = (): void => undefined;
      const beginning = new Promise<void>((resolve) => (began = resolve));
      let other: Promise<number> | undefined;
      const early = bench.source.write(async (tx) => {
        await bench.subject.run(tx, insert('early'));
        began();
        // A store with one writer at a time cannot let the other go first; it then waits for this one.
        await Promise.race([beginning.then(() => other), bench.options.clock.sleep(50)]);
      });
      await beginning;
      other = bench.commit(insert('late'));
      const { offset } = await early;
      const end = Math.max(offset, await other);
      const entries = await bench.collect(undefined, end);
      assert.deepEqual(changesOf(entries).map(told).toSorted(), [
        'create ["early"] early',
        'create ["late"] late',
      ]);
      await containsAt(bench, 'early', offset);
    },
  },
  {
    id: 'SO-033',
    policy: 'commits a transaction that only reads without a trace in the stream',
    run: async (bench) => {
      const first = await bench.commit(insert('a'));
      const read = await bench.source.write(() => 'nothing');
      assert.equal(read.value, 'nothing');
      assert.ok(read.offset >= first);
      assert.ok(read.offset <= (await bench.source.head()));
      const end = await bench.commit(insert('b'));
      assert.deepEqual(changesOf(await bench.collect(undefined, end)).map(told), [
        'create ["a"] a',
        'create ["b"] b',
      ]);
    },
  },
  {
    id: 'SO-040',
    policy: 'ends a stream that waits as soon as its signal aborts',
    run: async (bench) => {
      const ending = new AbortController();
      const waiting = await idle(bench, ending.signal);
      ending.abort();
      const end = await bench.soon(waiting.next, 'the wait did not end on abort');
      assert.equal(end.done, true);
    },
  },
  {
    id: 'SO-041',
    policy: 'wakes a stream that waits when something is written',
    run: async (bench) => {
      const ending = new AbortController();
      const waiting = await idle(bench, ending.signal);
      await bench.commit(insert('b'));
      const woken = await bench.soon(waiting.next, 'the stream was not woken by a write');
      assert.equal(woken.done ?? false, false);
      ending.abort();
      await waiting.iterator.return?.();
    },
  },
  {
    id: 'SO-042',
    policy: 'yields nothing to a signal that is already aborted',
    run: async (bench) => {
      await bench.commit(insert('a'));
      const stream = bench.source.stream({
        after: undefined,
        ...bounds,
        signal: AbortSignal.abort(),
      });
      const first = await bench.soon(
        stream[Symbol.asyncIterator]().next(),
        'an aborted stream waits',
      );
      assert.equal(first.done, true);
    },
  },
  {
    id: 'SO-050',
    policy: 'lets go of exactly what is acknowledged, and still has after it was opened again',
    run: acknowledges,
  },
  {
    id: 'SO-051',
    policy: 'lets go of nothing that was read but not acknowledged',
    run: async (bench) => {
      await bench.source.claim(1);
      const end = await bench.commit(insert('a'), insert('b'));
      assert.equal(changesOf(await bench.collect(undefined, end)).length, 2);
      await bench.subject.reopen();
      const { rows, bytes } = await bench.source.retained();
      assert.ok(rows >= 2 || (rows === 0 && bytes > 0), `retains ${rows} rows, ${bytes} bytes`);
      assert.equal(changesOf(await bench.collect(undefined, end)).length, 2);
    },
  },
  {
    id: 'SO-052',
    policy: 'never moves its acknowledgement back',
    run: async (bench) => {
      const { cursors, end } = await threeCommits(bench);
      await bench.source.acknowledge(cursorOf(cursors, 1), 1);
      await bench.source
        .acknowledge(cursorOf(cursors, 0), 1)
        .catch((error: unknown) => rejects(Promise.reject(error), 'HISTORY_LOST'));
      assert.deepEqual(changesOf(await bench.collect(cursorOf(cursors, 1), end)).map(told), [
        'create ["c"] c',
      ]);
      assert.deepEqual(await skipsNothing(bench, cursorOf(cursors, 0), end), [
        'create ["b"] b',
        'create ["c"] c',
      ]);
    },
  },
  {
    id: 'SO-053',
    policy: 'refuses the acknowledgement of a worker that was replaced',
    run: async (bench) => {
      const { cursors, end } = await threeCommits(bench);
      await bench.source.claim(2);
      await rejectsFenced(bench.source.acknowledge(cursorOf(cursors, 2), 1), 2);
      await rejectsFenced(bench.source.claim(1), 2);
      await bench.subject.reopen();
      await rejects(bench.source.acknowledge(cursorOf(cursors, 2), 1), 'FENCED_OUT');
      assert.equal(changesOf(await bench.collect(undefined, end)).length, 3);
      await bench.source.acknowledge(cursorOf(cursors, 2), 2);
    },
  },
  {
    id: 'SO-060',
    policy: 'refuses the token of another history, at an offset that this one has as well',
    run: async (bench) => {
      const { cursors, end } = await threeCommits(bench);
      const other = await bench.options.open();
      try {
        const { source } = other;
        await source.prepare(['products']);
        assert.notEqual(await source.history(), await bench.source.history());
      } finally {
        await other.dispose();
      }
      const foreign = { offset: cursorOf(cursors, 0).offset, token: await foreignToken(bench) };
      await rejects(bench.collect(foreign, end), 'HISTORY_LOST');
    },
  },
  {
    id: 'SO-061',
    policy: 'refuses a token from beyond its head: the store was put back to an older state',
    run: async (bench) => {
      const { cursors, end } = await threeCommits(bench);
      const beyond = await farToken(bench, end);
      await rejects(bench.collect(beyond, beyond.offset + 1), 'HISTORY_LOST');
      assert.ok(cursors.length > 0);
    },
  },
  {
    id: 'SO-062',
    policy: 'keeps its history and its head when it is opened again',
    run: async (bench) => {
      const end = await bench.commit(insert('a'));
      const history = await bench.source.history();
      assert.ok(history.length > 0);
      await bench.subject.reopen();
      assert.equal(await bench.source.history(), history);
      assert.ok((await bench.source.head()) >= end);
      assert.ok((await bench.commit(insert('b'))) > end);
    },
  },
];

async function goesOn(bench: SourceBench, how: { readonly reopen: boolean }): Promise<void> {
  for (const sku of ['a', 'b', 'c']) await bench.commit(insert(sku), insert(`${sku}2`));
  const end = await bench.commit(update('a', 'changed'));
  const entries = await bench.collect(undefined, end);
  if (how.reopen) await bench.subject.reopen();
  for (const commit of commitsOf(entries)) {
    const rest = entries.filter(({ offset }) => offset > commit.offset);
    const next = await bench.collect(cursorAt(commit), end);
    assert.deepEqual(changesOf(next), changesOf(rest), `after the commit at ${commit.offset}`);
  }
}

/**
 * Asserts that the stream up to `offset` holds the creation of `sku`, and where each transaction has a boundary of its
 * own, that it is the offset of that commit: or, with covering evidence, not before it.
 */
async function containsAt(bench: SourceBench, sku: string, offset: number): Promise<void> {
  const entries = await bench.collect(undefined, offset);
  const at = entries.findIndex(
    (entry) => entry.kind === 'change' && entry.key === JSON.stringify([sku]),
  );
  const own = entries[at];
  assert.ok(own, `the stream up to ${offset} does not hold ${sku}`);
  if (bench.supports.transactionBoundaries !== 'each') {
    assert.ok(own.offset >= offset);
    return;
  }
  const commit = commitsOf(entries.slice(at))[0];
  assert.ok(commit, `the transaction of ${sku} ends`);
  if (bench.hasOwnEvidence) assert.equal(commit.offset, offset, `the offset of ${sku}`);
  else assert.ok(commit.offset <= offset, `the offset of ${sku} is before its commit`);
}

async function idle(
  bench: SourceBench,
  signal: AbortSignal,
): Promise<{
  readonly iterator: AsyncIterator<unknown>;
  readonly next: Promise<IteratorResult<unknown>>;
}> {
  const end = await bench.commit(insert('a'));
  const after = cursorAt(commitsOf(await bench.collect(undefined, end)).at(-1));
  const iterator = bench.source.stream({ after, ...bounds, signal })[Symbol.asyncIterator]();
  let settled = false;
  const next = afterQuiet(iterator).finally(() => (settled = true));
  for (let round = 0; round < 5; round += 1) await bench.source.head();
  assert.equal(settled, false, 'a stream with nothing to say waits');
  return { iterator, next };
}

/** What comes after batches that only say how far nothing is missing: a source may tell that at any time. */
async function afterQuiet(
  iterator: AsyncIterator<readonly SourceEntry[]>,
): Promise<IteratorResult<readonly SourceEntry[]>> {
  for (;;) {
    const next = await iterator.next();
    if (next.done === true || !isQuiet(next.value)) return next;
  }
}

async function acknowledges(bench: SourceBench): Promise<void> {
  const { cursors, end } = await threeCommits(bench);
  const before = await bench.source.retained();
  await bench.source.acknowledge(cursorOf(cursors, 0), 1);
  const rest = ['create ["b"] b', 'create ["c"] c'];
  assert.deepEqual(changesOf(await bench.collect(cursorOf(cursors, 0), end)).map(told), rest);
  await bench.subject.reopen();
  assert.deepEqual(changesOf(await bench.collect(cursorOf(cursors, 0), end)).map(told), rest);
  await bench.source.acknowledge(cursorOf(cursors, 2), 1);
  const after = await bench.source.retained();
  // One that counts no rows says bytes, and those of whatever else its store logs are among them.
  if (before.rows > 0)
    assert.ok(after.rows < before.rows, `retains ${after.rows} rows of ${before.rows}`);
  else assert.ok(before.bytes > 0 && after.bytes >= 0);
  const next = await bench.commit(insert('d'));
  assert.deepEqual(changesOf(await bench.collect(cursorOf(cursors, 2), next)).map(told), [
    'create ["d"] d',
  ]);
  assert.deepEqual(await skipsNothing(bench, cursorOf(cursors, 0), end), rest);
}

/** What follows an acknowledged place is there in full, or HISTORY_LOST says that it is not: never a gap. */
async function skipsNothing(
  bench: SourceBench,
  after: SourceCursor,
  end: number,
): Promise<readonly string[]> {
  const all = ['create ["b"] b', 'create ["c"] c'];
  try {
    return changesOf(await bench.collect(after, end))
      .map(told)
      .slice(0, all.length);
  } catch (error) {
    await rejects(Promise.reject(error), 'HISTORY_LOST');
    return all;
  }
}

async function threeCommits(
  bench: SourceBench,
): Promise<{ readonly cursors: readonly SourceCursor[]; readonly end: number }> {
  await bench.source.claim(1);
  const offsets: number[] = [];
  for (const sku of ['a', 'b', 'c']) {
    offsets.push(await bench.commit(insert(sku)));
    // Read in between, so that a source with coarse boundaries has a commit for each of them.
    await bench.collect(undefined, offsets.at(-1) ?? 0);
  }
  const commits = commitsOf(await bench.collect(undefined, Math.max(...offsets)));
  const cursors = offsets.map((offset) =>
    cursorAt(commits.find((commit) => commit.offset >= offset)),
  );
  return { cursors, end: Math.max(...offsets) };
}

function cursorOf(cursors: readonly SourceCursor[], index: number): SourceCursor {
  const cursor = cursors[index];
  assert.ok(cursor);
  return cursor;
}

/** The token of another subject's first commit, which has the same offset if offsets are counted. */
async function foreignToken(bench: SourceBench): Promise<string> {
  return (await otherCursor(bench, 1)).token;
}

/** A place of another subject with many more commits: where this store would be had it not been put back. */
async function farToken(bench: SourceBench, end: number): Promise<SourceCursor> {
  const far = await otherCursor(bench, 8);
  return { offset: Math.max(far.offset, end + 1_000), token: far.token };
}

async function otherCursor(bench: SourceBench, commits: number): Promise<SourceCursor> {
  const subject = await bench.options.open();
  try {
    const other = new (bench.constructor as typeof SourceBench)(subject, bench.options);
    await other.source.prepare(['products']);
    let end = 0;
    for (let index = 0; index < commits; index += 1)
      end = await other.commit(insert(`other-${index}`));
    return cursorAt(commitsOf(await other.collect(undefined, end)).at(-1));
  } finally {
    await subject.dispose();
  }
}
