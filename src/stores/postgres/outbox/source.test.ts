import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import {
  freshDatabase,
  hasPostgres,
  type FreshDatabase,
} from '../../../../test/support/servers.ts';
import { startPostgres } from '../../../../servers/index.ts';
import { startStandby } from '../../../../servers/standby.ts';
import { decodeValue } from '../../../core/codec.ts';
import type { SourceCursor, SourceEntry } from '../../../ports/source.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { seededRandom, systemRandom } from '../../../runtime/random.ts';
import { openDatabase, type Database } from '../database.ts';
import { openOutboxSource, type OutboxSource } from './source.ts';
import { createOutbox } from './table.ts';

type Change = Extract<SourceEntry, { kind: 'change' }>;
type Commit = Extract<SourceEntry, { kind: 'commit' }>;

interface Opened extends AsyncDisposable {
  readonly url: string;
  readonly database: Database;
  readonly source: OutboxSource;
}

async function opened(options: { readonly keepMs?: number } = {}): Promise<Opened> {
  const fresh: FreshDatabase = await freshDatabase();
  const context = { name: 'orders', clock: systemClock, random: systemRandom };
  const database = await openDatabase(context, { url: fresh.url, pool: { max: 20 } });
  await createOutbox(database.pool, { capture: 'outbox' });
  const source = openOutboxSource({ database, table: 'outbox', ...options });
  await source.prepare(['outbox']);
  await source.claim(1);
  return {
    url: fresh.url,
    database,
    source,
    [Symbol.asyncDispose]: async () => {
      source.close();
      await database.close();
      await fresh[Symbol.asyncDispose]();
    },
  };
}

async function connected(url: string): Promise<Client & AsyncDisposable> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

const place = (key: string, n: number): string =>
  `INSERT INTO outbox (topic, key, payload) VALUES ('orders', '${key}', '{"n": ${n}}')`;

/** Streams until an entry satisfies `last`. */
async function drain(
  source: OutboxSource,
  last: (entry: SourceEntry) => boolean,
  after?: SourceCursor,
  rowsMax = 1_000,
): Promise<readonly SourceEntry[]> {
  const stop = new AbortController();
  const found: SourceEntry[] = [];
  const options = { after, rowsMax, bytesMax: 1_000_000, signal: stop.signal };
  for await (const batch of source.stream(options)) {
    found.push(...batch);
    if (batch.some(last)) stop.abort();
  }
  return found;
}

const changes = (entries: readonly SourceEntry[]): readonly Change[] =>
  entries.filter((entry) => entry.kind === 'change');
const commits = (entries: readonly SourceEntry[]): readonly Commit[] =>
  entries.filter((entry) => entry.kind === 'commit');
const numberOf = ({ after }: Change): unknown =>
  (decodeValue(after ?? 'null') as { payload: { n: unknown } }).payload.n;
const keyOf = ({ after }: Change): string => (decodeValue(after ?? 'null') as { key: string }).key;
const upTo =
  (offset: number) =>
  (entry: SourceEntry): boolean =>
    entry.kind === 'commit' && entry.offset >= offset;

describe.skipIf(!hasPostgres)('an outbox that is read by its own sequence', () => {
  test('T3: with sixteen writers, aborts and a late committer nothing is lost, and each key keeps its order', async () => {
    await using open = await opened();
    const { database, source, url } = open;
    const random = seededRandom(7);
    const keys = 12;
    await database.run(
      `CREATE TABLE orders AS SELECT k AS id, 0 AS n FROM generate_series(1, ${keys}) AS k`,
    );
    await using late = await connected(url);
    await late.query(`BEGIN; ${place('late', 1)}`);

    const streaming = drain(source, (entry) => entry.kind === 'change' && keyOf(entry) === 'end');
    const plans = Array.from({ length: 16 }, () =>
      Array.from({ length: 40 }, () => ({
        first: 1 + Math.floor(random.next() * keys),
        both: random.next() < 0.3,
        pauseMs: random.next() < 0.5 ? Math.floor(random.next() * 8) : 0,
        commits: random.next() > 0.2,
      })),
    );
    const write = async (plan: (typeof plans)[number]): Promise<void> => {
      await using client = await connected(url);
      for (const { first, both, pauseMs, commits: ends } of plan) {
        await client.query('BEGIN');
        // In the order of the keys: two writers never wait for each other.
        for (const key of both && first < keys ? [first, first + 1] : [first]) {
          const { rows } = await client.query<{ n: number }>(
            'UPDATE orders SET n = n + 1 WHERE id = $1 RETURNING n',
            [key],
          );
          if (pauseMs > 0) await client.query('SELECT pg_sleep($1)', [pauseMs / 1_000]);
          await client.query(place(String(key), rows[0]?.n ?? 0));
        }
        await client.query(ends ? 'COMMIT' : 'ROLLBACK');
      }
    };
    await Promise.all(plans.map(write));
    // It began before all others.
    await late.query('COMMIT');
    await late.query(place('end', 1));
    const entries = await streaming;

    const found = changes(entries);
    const { rows: orders } = await late.query<{ id: number; n: number }>(
      'SELECT id, n FROM orders',
    );
    for (const { id, n } of orders)
      expect(found.filter((change) => keyOf(change) === String(id)).map(numberOf)).toEqual(
        Array.from({ length: n }, (_, index) => index + 1),
      );
    expect(found.filter((change) => keyOf(change) === 'late')).toHaveLength(1);
    // What an order by `ord` alone would have skipped: it was numbered after messages that are younger.
    const { rows: overtaken } = await late.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM outbox a JOIN outbox b ON a.ord < b.ord AND a.seq > b.seq`,
    );
    expect(overtaken[0]?.n).toBeGreaterThan(0);
    const places = entries.map(({ offset }) => offset);
    expect(places).toEqual(places.toSorted((left, right) => left - right));
  }, 60_000);

  test('a transaction is one, also if its numbers span batches', async () => {
    await using open = await opened();
    const { database, source } = open;
    await database.transaction(async (tx) => {
      for (let n = 1; n <= 50; n++) await tx.run(place('a', n));
    });
    await database.run(place('b', 1));
    const entries = await drain(source, upTo(51), undefined, 16);
    expect(commits(entries)).toMatchObject([
      { offset: 50, changes: 50 },
      { offset: 51, changes: 1 },
    ]);
    expect(changes(entries).map(({ offset, ordinal }) => [offset, ordinal])).toEqual([
      ...Array.from({ length: 50 }, (_, ordinal) => [1, ordinal]),
      [51, 0],
    ]);
  });

  test('a transaction larger than a round of the sequencer is numbered whole', async () => {
    await using open = await opened();
    const { database, source, url } = open;
    await using other = await connected(url);
    await other.query('BEGIN');
    await other.query(place('other', 1));
    await database.run(
      `INSERT INTO outbox (topic, key, payload) SELECT 'bulk', 'bulk', '{"n": 1}' FROM generate_series(1, 12000)`,
    );
    await other.query(place('other', 2));
    await other.query('COMMIT');
    expect(await source.sequence()).toBe(12_002);
    const [row] = await database.query(
      `SELECT count(DISTINCT seq)::int AS seqs, max(seq) - min(seq) + 1 AS span FROM outbox WHERE topic = 'bulk'`,
    );
    expect(row).toEqual({ seqs: 12_000, span: 12_000 });
  });

  test('the evidence of a write is at or after its message, and waiting streams see it at once', async () => {
    await using open = await opened();
    const { database, source } = open;
    const written = await Promise.all(
      Array.from({ length: 24 }, (_, index) =>
        source.write(async (tx) => {
          await tx.query(place(`w${index}`, 1));
          return `w${index}`;
        }),
      ),
    );
    const rows = await database.query<{ key: string; seq: number }>('SELECT key, seq FROM outbox');
    const places = new Map(rows.map(({ key, seq }) => [key, seq]));
    for (const { value, offset } of written)
      expect(offset).toBeGreaterThanOrEqual(places.get(value) ?? Infinity);
    expect(await source.head()).toBe(24);
    const failing = source.write(async (tx) => {
      await tx.query(place('failed', 1));
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await source.head()).toBe(24);
  });

  test('goes on after a cursor, and refuses one of a history that is not there any more', async () => {
    await using open = await opened();
    const { database, source } = open;
    for (const n of [1, 2, 3, 4]) await database.run(place('a', n));
    const all = await drain(source, upTo(4));
    const [, second, , fourth] = commits(all) as [Commit, Commit, Commit, Commit];
    const rest = await drain(source, upTo(4), second);
    expect(changes(rest).map(numberOf)).toEqual([3, 4]);

    const never = drain(source, () => true, { ...second, token: '2/17' });
    await expect(never).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    const ahead = drain(source, () => true, { ...fourth, offset: 9 });
    await expect(ahead).rejects.toMatchObject({ code: 'HISTORY_LOST' });
    // Somebody tidied up before everything was captured.
    await database.run('DELETE FROM outbox WHERE seq = 3');
    const gap = drain(source, () => true, second);
    await expect(gap).rejects.toMatchObject({
      code: 'HISTORY_LOST',
      details: { table: 'outbox', from: 3, to: 3 },
    });
  });

  test('T14: an older worker neither acknowledges nor streams', async () => {
    await using open = await opened();
    const { database, source } = open;
    await database.run(place('a', 1));
    const [commit] = commits(await drain(source, upTo(1))) as [Commit];
    const newer = openOutboxSource({ database, table: 'outbox' });
    await newer.claim(2);
    await expect(source.acknowledge(commit, 1)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await expect(drain(source, () => true)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await expect(source.claim(1)).rejects.toMatchObject({ code: 'FENCED_OUT' });
    await newer.acknowledge(commit, 2);
    expect(await newer.retained()).toEqual({ rows: 0, bytes: 0 });
  });

  test('what is acknowledged and old is pruned; the last transaction stays as proof', async () => {
    await using open = await opened({ keepMs: 0 });
    const { database, source } = open;
    for (const n of [1, 2, 3]) await database.run(place('a', n));
    const [, second, third] = commits(await drain(source, upTo(3))) as [Commit, Commit, Commit];
    await source.acknowledge(second, 1);
    expect(await database.query('SELECT seq FROM outbox ORDER BY seq')).toEqual([
      { seq: 2 },
      { seq: 3 },
    ]);
    expect(await source.retained()).toMatchObject({ rows: 1 });
    expect(changes(await drain(source, upTo(3), second)).map(numberOf)).toEqual([3]);
    expect(third.offset).toBe(3);
  });

  test('a snapshot is exact, and goes on after a key', async () => {
    await using open = await opened();
    const { database, source } = open;
    for (let n = 1; n <= 40; n++) await database.run(place('a', n));
    await source.sequence();
    const unnumbered = place('a', 41);
    await database.run(unnumbered);
    const read = async (resume?: Record<string, readonly string[]>): Promise<string[]> => {
      const ids: string[] = [];
      const signal = new AbortController().signal;
      const options = { tables: ['outbox'], rowsMax: 16, bytesMax: 1_000_000, signal };
      for await (const chunk of source.snapshot({ ...options, ...(resume && { resume }) })) {
        expect(chunk.at).toBe(40);
        ids.push(...chunk.rows.map(({ key }) => String(key[0])));
      }
      return ids;
    };
    const ids = await read();
    expect(new Set(ids).size).toBe(40);
    expect(await read({ outbox: [ids[19] ?? ''] })).toEqual(ids.slice(20));
    const { at, rows } = await source.lookup('outbox', [[ids[0] ?? ''], [systemRandom.id()]]);
    expect(at).toBe(41);
    expect(rows).toMatchObject([{ topic: 'orders', payload: { n: expect.any(Number) } }, null]);
  });

  test('only the outbox is captured, and only one that has its columns', async () => {
    await using open = await opened();
    const { database, source } = open;
    await expect(source.prepare(['outbox', 'orders'])).rejects.toMatchObject({
      code: 'TABLE_UNSUPPORTED',
    });
    await createOutbox(database.pool, { table: 'plain' });
    const plain = openOutboxSource({ database, table: 'plain' });
    await expect(plain.prepare(['plain'])).rejects.toMatchObject({
      code: 'TABLE_UNSUPPORTED',
      details: { missing: ['xact', 'seq'] },
    });
    await createOutbox(database.pool, { table: 'plain', capture: 'outbox' });
    expect(await plain.prepare(['plain'])).toMatchObject([{ name: 'plain', key: ['id'] }]);
    expect(await plain.history()).not.toBe(await source.history());
    expect(await source.history()).toMatch(/^outbox\/\d+\/1\//);
  });

  test('T7: a promoted standby goes on with the history as far as it has received it, and no further', async () => {
    await using primary = await startPostgres();
    const context = { name: 'orders', clock: systemClock, random: systemRandom };
    const database = await openDatabase(context, { url: primary.url });
    await createOutbox(database.pool, { capture: 'outbox' });
    const source = openOutboxSource({ database, table: 'outbox' });
    await source.claim(1);
    for (const n of [1, 2]) await database.run(place('a', n));
    const before = await source.history();
    const [, second] = commits(await drain(source, upTo(2))) as [Commit, Commit];
    await using standby = await startStandby(primary);
    await until(standby.url, 'SELECT count(*) = 2 FROM outbox WHERE seq IS NOT NULL');
    source.close();
    await database.close();
    await primary.kill();
    await standby.promote();
    const promoted = await openDatabase(context, { url: standby.url });
    const after = openOutboxSource({ database: promoted, table: 'outbox' });
    expect(await after.history()).not.toBe(before);
    expect(await after.continues(before, second)).toBe(2);
    expect(await after.continues(before, { offset: 9, token: '9/900' })).toBeUndefined();
    expect(await after.continues(before.replace(/[^/]*$/, 'x'), second)).toBeUndefined();
    expect(await after.continues(await after.history(), second)).toBeUndefined();
    after.close();
    await promoted.close();
  }, 60_000);
});

/** Asks again until the answer is yes. */
async function until(url: string, sql: string): Promise<void> {
  await using client = await connected(url);
  for (;;) {
    const { rows } = await client.query({ text: sql, rowMode: 'array' });
    if ((rows[0] as unknown[] | undefined)?.[0] === true) return;
    await systemClock.sleep(5);
  }
}
