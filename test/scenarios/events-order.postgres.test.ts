import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import { postgres, type PostgresEventsStore } from 'tallystick/postgres';
import type { StoredEvent } from 'tallystick';
import { startPostgres } from '../../servers/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom, systemRandom } from '../../src/runtime/random.ts';
import { freshDatabase, hasPostgres, postgresUrl } from '../support/servers.ts';

const context = { name: 'bank', clock: systemClock, random: systemRandom };
const WRITERS = 64;
const ROUNDS = 6;
const STREAMS = 23;

class Unwanted extends Error {}

function open(url: string): Promise<PostgresEventsStore> {
  return postgres({ url, capture: 'events', pollMs: 5, pool: { max: 16 } }).open(context);
}

/** A transaction that has written, and is neither committed nor rolled back until it is disposed of. */
async function openForLong(url: string, statement: string): Promise<AsyncDisposable> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query('BEGIN');
  await client.query('SELECT pg_current_xact_id()');
  await client.query(statement);
  return {
    [Symbol.asyncDispose]: async () => {
      await client.query('ROLLBACK');
      await client.end();
    },
  };
}

/** One writer: appends in every way that there is, with pauses and changes of mind. Answers the ids that are there. */
async function writer(
  stores: readonly PostgresEventsStore[],
  number: number,
  seed: string,
): Promise<readonly string[]> {
  const random = seededRandom(`${seed}/${number}`);
  const pick = (count: number): number => Math.floor(random.next() * count);
  const kept: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { events, source } = stores[pick(stores.length)]!;
    const [one, two] = [pick(STREAMS), pick(STREAMS - 1)];
    const ids = Array.from({ length: 1 + pick(3) }, (_, n) => `${number}.${round}.${n}`);
    const added = ids.map((id) => ({ id, type: 'Done', data: { number, round } }));
    const first = { stream: `s-${one}`, events: added };
    const second = {
      stream: `s-${(one + 1 + two) % STREAMS}`,
      events: [{ id: `${number}.${round}.x`, type: 'Done', data: null }],
    };
    switch (pick(4)) {
      case 0:
        await events.append(first.stream, added);
        kept.push(...ids);
        break;
      case 1:
        await events.appendMany([first, second]);
        kept.push(...ids, `${number}.${round}.x`);
        break;
      default: {
        const pauseMs = random.next() * 12;
        const isWanted = random.next() < 0.7;
        await source
          .write(async (tx) => {
            await events.appendIn(tx, [first]);
            await systemClock.sleep(pauseMs);
            if (!isWanted) throw new Unwanted();
          })
          .catch((error: unknown) => {
            if (!(error instanceof Unwanted)) throw error;
          });
        if (isWanted) kept.push(...ids);
      }
    }
  }
  return kept;
}

describe.skipIf(!hasPostgres)('the order of all events in PostgreSQL', () => {
  test('64 writers, aborts, long transactions elsewhere: a subscriber misses, doubles and turns round nothing', async () => {
    const seed = String(systemRandom.next());
    await using database = await freshDatabase();
    await using one = await open(database.url);
    await using two = await open(database.url);
    await one.events.head();
    // Whoever waits for the oldest transaction of the cluster would wait for these.
    await using held = new AsyncDisposableStack();
    for (const url of [postgresUrl(), database.url])
      held.use(await openForLong(url, 'CREATE TABLE never_there (n int)'));
    const seen: StoredEvent[] = [];
    const ending = new AbortController();
    const following = (async () => {
      for await (const page of two.events.follow({ signal: ending.signal })) {
        seen.push(...page.events);
        if (page.events.some(({ id }) => id === 'last')) return;
      }
    })();
    const kept = await Promise.all(
      Array.from({ length: WRITERS }, (_, number) => writer([one, two], number, seed)),
    );
    await one.events.append('last', [{ id: 'last', type: 'Done', data: null }]);
    await following;
    const wanted = [...kept.flat(), 'last'];
    expect(new Set(seen.map(({ id }) => id)), `seed ${seed}`).toEqual(new Set(wanted));
    expect(seen).toHaveLength(wanted.length);
    const versions = new Map<string, number>();
    for (const [index, { position, stream, version }] of seen.entries()) {
      expect(position, `seed ${seed}`).toBe(index + 1);
      expect(version, `seed ${seed}, ${stream}`).toBe((versions.get(stream) ?? 0) + 1);
      versions.set(stream, version);
    }
    const { rows } = await one.client.query('SELECT FROM _tally.event_waiting');
    expect(rows).toHaveLength(0);
  }, 60_000);

  test('a dump that is restored into another cluster has the same order, and goes on in it', async () => {
    await using database = await freshDatabase();
    const before = await open(database.url);
    for (let n = 0; n < 20; n += 1) {
      await before.events.append(`s-${n % 3}`, [{ type: 'Done', data: { n } }]);
      await before.source.write((tx) =>
        before.events.appendIn(tx, [
          { stream: `t-${n % 3}`, events: [{ type: 'Done', data: { n } }] },
        ]),
      );
    }
    await before.source.claim(1);
    const history = await before.source.history();
    const all: StoredEvent[] = [];
    for await (const page of before.events.readAll()) all.push(...page.events);
    const last = all.at(-1)!;
    // Committed, and dumped before it had its position.
    const client = new Client({ connectionString: database.url });
    await client.connect();
    await client.query('BEGIN');
    await before.events.appendIn(client, [
      { stream: 's-0', events: [{ id: 'late', type: 'Done', data: null }] },
    ]);
    await client.query('COMMIT');
    await client.end();
    await before.close();

    // Its transaction ids start anew, far below those of the first.
    await using other = await startPostgres();
    const run = promisify(execFile);
    const { stdout } = await run('pg_dump', ['--no-owner', database.url], { maxBuffer: 2 ** 26 });
    const restoring = run('psql', ['-q', '-v', 'ON_ERROR_STOP=1', other.url]);
    restoring.child.stdin?.end(stdout);
    await restoring;

    await using after = await open(other.url);
    const restored: StoredEvent[] = [];
    for await (const page of after.events.readAll()) restored.push(...page.events);
    expect(restored.slice(0, all.length)).toEqual(all);
    expect(restored.slice(all.length).map(({ id, position }) => [id, position])).toEqual([
      ['late', all.length + 1],
    ]);
    const { position } = await after.events.append('s-1', [{ type: 'Done', data: null }]);
    expect(position).toBe(all.length + 2);
    // A capture that had read all before the dump goes on after it.
    const cursor = { offset: last.position, token: last.id };
    expect(await after.source.continues?.(history, cursor)).toBe(last.position);
    expect(
      await after.source.continues?.(history, { ...cursor, token: 'another' }),
    ).toBeUndefined();
    await expect(after.client.query('DELETE FROM _tally.events')).rejects.toThrow('never');
  }, 60_000);

  test('a cursor of what the database no longer has is HISTORY_LOST', async () => {
    await using database = await freshDatabase();
    await using store = await open(database.url);
    await store.source.claim(1);
    await store.events.append('s', [{ id: 'a', type: 'Done', data: null }]);
    const { signal } = new AbortController();
    for (const after of [
      { offset: 1, token: 'b' },
      { offset: 2, token: 'a' },
    ]) {
      const stream = store.source.stream({ after, rowsMax: 10, bytesMax: 1_000, signal });
      await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({
        code: 'HISTORY_LOST',
      });
    }
  });
});
