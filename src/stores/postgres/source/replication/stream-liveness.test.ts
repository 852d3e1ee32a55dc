import { describe, expect, test } from 'vitest';
import { startProxy } from '../../../../../servers/proxy.ts';
import { startPostgres } from '../../../../../servers/index.ts';
import {
  changesOf,
  commitsOf,
  cursorOf,
  SlotBench,
} from '../../../../../test/support/replication.ts';
import { hasPostgres } from '../../../../../test/support/servers.ts';
import type { SourceEntry } from '../../../../ports/source.ts';
import { systemClock } from '../../../../runtime/clock.ts';
import { acknowledgedLsn, ReplicationStream, type ReplicationParts } from './stream.ts';

const orders = `CREATE TABLE orders (id int PRIMARY KEY, name text);
  ALTER TABLE orders REPLICA IDENTITY FULL;
  CREATE TABLE other (id int, name text);`;

/** Reads in the background, acknowledging each transaction if asked to. */
class Reader implements AsyncDisposable {
  readonly entries: SourceEntry[] = [];
  readonly stream: ReplicationStream;
  readonly ended: Promise<unknown>;
  readonly #ending = new AbortController();

  constructor(parts: ReplicationParts, acknowledging: 'acknowledging' | 'silent') {
    this.stream = new ReplicationStream(parts);
    this.ended = this.#read(acknowledging).catch((error: unknown) => error);
  }

  get last(): number {
    return this.entries.at(-1)?.offset ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.ended;
  }

  async #read(acknowledging: 'acknowledging' | 'silent'): Promise<void> {
    const options = { after: undefined, rowsMax: 100, bytesMax: 2 ** 20 };
    for await (const batch of this.stream.entries({ ...options, signal: this.#ending.signal })) {
      this.entries.push(...batch);
      const last = batch.findLast((entry) => entry.kind === 'commit');
      if (acknowledging === 'acknowledging' && last !== undefined)
        this.stream.acknowledge(acknowledgedLsn(last.token));
    }
  }
}

describe.skipIf(!hasPostgres)('a stream of a quiet table', () => {
  test('T20 tells how far it is when only others write, without a change to tell', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    await using reader = new Reader(await bench.parts(['orders']), 'silent');
    await expect.poll(() => changesOf(reader.entries).length).toBe(1);
    for (let round = 0; round < 3; round++) {
      await bench.sql(`INSERT INTO other VALUES (1, 'a')`);
      const evidence = await bench.head();
      await expect.poll(() => reader.last).toBeGreaterThanOrEqual(evidence);
    }
    const markers = reader.entries.slice(2);
    expect(markers.length).toBeGreaterThan(0);
    const { token } = cursorOf(commitsOf(reader.entries)[0]);
    for (const marker of markers) expect(marker).toMatchObject({ changes: 0, token });
    // Going on after a marker is going on after the transaction before it.
    const last = reader.entries.findLast((entry) => entry.kind === 'commit');
    await bench.sql(`INSERT INTO orders VALUES (2, 'b')`);
    await reader[Symbol.asyncDispose]();
    const rest = await bench.collect(['orders'], { after: cursorOf(last) });
    expect(changesOf(rest).map(({ key }) => key)).toEqual(['[2]']);
  });

  test('T8 moves its slot on in a busy database, by a transaction of its own', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    await using reader = new Reader(
      await bench.parts(['orders'], { heartbeatBytes: 256 * 1024 }),
      'acknowledging',
    );
    await expect.poll(() => changesOf(reader.entries).length).toBe(1);
    expect(bench.heartbeats).toBe(0);
    await bench.sql(`INSERT INTO other SELECT n, repeat('x', 500) FROM generate_series(1, 2000) n`);
    const written = await bench.head();
    await expect.poll(() => bench.confirmedLsn()).toBeGreaterThan(written);
    expect(bench.heartbeats).toBe(1);
    expect(changesOf(reader.entries)).toHaveLength(1);
  });

  test('T8 fails as its heartbeat does', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    const failure = new Error('no right to write');
    await using reader = new Reader(
      await bench.parts(['orders'], {
        heartbeatBytes: 1024,
        heartbeat: () => Promise.reject(failure),
      }),
      'silent',
    );
    await bench.sql(`INSERT INTO other SELECT n, repeat('x', 500) FROM generate_series(1, 200) n`);
    expect(await reader.ended).toBe(failure);
  });
});

describe.skipIf(!hasPostgres)('a stream whose server cannot be heard', () => {
  const times = { statusEveryMs: 100, silentMaxMs: 500 };
  const unreachable = { code: 'STORE_UNREACHABLE', retryable: true };

  test('T18 ends after a silence, and goes on where it was when the network is back', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await using proxy = await startProxy(Number(new URL(bench.url).port));
    const { config, where, clock } = bench.database;
    const connect = (extra = {}): ReturnType<typeof bench.database.connect> =>
      bench.database.connect({ ...extra, port: proxy.port });
    const target = { config, where, clock, connect };
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    const parts = await bench.parts(['orders'], { target, times });
    const reader = new Reader(parts, 'acknowledging');
    await expect.poll(() => changesOf(reader.entries).length).toBe(1);
    proxy.blackhole();
    await bench.sql(`INSERT INTO orders VALUES (2, 'b')`);
    expect(await reader.ended).toMatchObject(unreachable);
    await proxy.cut();
    await proxy.heal();
    const after = cursorOf(reader.entries.findLast((entry) => entry.kind === 'commit'));
    const rest = await bench.collect(['orders'], { after, parts: { target, times } });
    expect(changesOf(rest).map(({ key }) => key)).toEqual(['[2]']);
  });

  test('T18 ends at once if the connection is reset', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await using reader = new Reader(await bench.parts(['orders']), 'silent');
    await expect.poll(() => reader.stream.walEnd).toBeGreaterThan(0);
    await bench.database.query(
      `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`,
      [bench.slot],
    );
    expect(await reader.ended).toMatchObject(unreachable);
  });

  test('does not keep the server from shutting down, whatever is not acknowledged', async () => {
    await using server = await startPostgres();
    await using bench = await SlotBench.open(['orders'], orders, { url: server.url });
    await bench.sql(`INSERT INTO orders VALUES (1, 'a')`);
    await using reader = new Reader(await bench.parts(['orders']), 'silent');
    await expect.poll(() => changesOf(reader.entries).length).toBe(1);
    const confirmed = await bench.confirmedLsn();
    const began = systemClock.monotonicMs();
    await server.restart();
    expect(systemClock.monotonicMs() - began).toBeLessThan(8_000);
    expect(await reader.ended).toMatchObject(unreachable);
    expect(await bench.confirmedLsn()).toBe(confirmed);
  });

  test('keeps its connection while its reader is behind for longer than that', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(
      `INSERT INTO orders SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n`,
    );
    await bench.sql(`INSERT INTO orders VALUES (0, 'last')`);
    let waited = false;
    const entries = await bench.collect(['orders'], {
      rowsMax: 1_000,
      parts: { times },
      onBatch: async () => {
        if (!waited) await systemClock.sleep(4 * times.silentMaxMs);
        waited = true;
      },
    });
    expect(changesOf(entries)).toHaveLength(20_001);
  });
});

describe.skipIf(!hasPostgres)('a stream that is aborted', () => {
  test('ends at once while the server does not answer', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await using proxy = await startProxy(Number(new URL(bench.url).port));
    const { config, where, clock } = bench.database;
    const connect = (extra = {}): ReturnType<typeof bench.database.connect> =>
      bench.database.connect({ ...extra, port: proxy.port });
    const target = { config, where, clock, connect };
    proxy.blackhole();
    const reader = new Reader(await bench.parts(['orders'], { target }), 'silent');
    await expect.poll(() => proxy.connections()).toBe(1);
    const began = clock.monotonicMs();
    await reader[Symbol.asyncDispose]();
    expect(clock.monotonicMs() - began).toBeLessThan(1_000);
    expect(await reader.ended).toBeUndefined();
  });

  test('ends without an error, at any time', async () => {
    await using bench = await SlotBench.open(['orders'], orders);
    await bench.sql(`INSERT INTO orders SELECT n, 'a' FROM generate_series(1, 1000) n`);
    for (const delayMs of [0, 1, 2, 5, 10, 20, 40]) {
      const ending = new AbortController();
      const stream = new ReplicationStream(await bench.parts(['orders']));
      const cancel = systemClock.after(delayMs, () => ending.abort());
      const options = { after: undefined, rowsMax: 10, bytesMax: 2 ** 20 };
      for await (const batch of stream.entries({ ...options, signal: ending.signal }))
        expect(batch.length).toBeGreaterThan(0);
      cancel();
      expect(ending.signal.aborted).toBe(true);
    }
    await bench.untilIdle();
  });
});
