import { describe, expect, test } from 'vitest';
import { isTallyError } from 'tallystick';
import { postgres } from 'tallystick/postgres';
import { startProxy } from '../../servers/index.ts';
import { query } from '../../servers/postgres.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom, systemRandom } from '../../src/runtime/random.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

const context = { name: 'bank', clock: systemClock, random: systemRandom };
const WRITERS = 8;
const EACH = 12;

describe.skipIf(!hasPostgres)('an event store in PostgreSQL', () => {
  test('whose connections break in the middle of appends doubles nothing and loses nothing', async () => {
    await using database = await freshDatabase();
    const through = new URL(database.url);
    await using network = await startProxy(Number(through.port));
    through.port = String(network.port);
    await using store = await postgres({ url: through.href, capture: 'events' }).open(context);
    await store.events.append('first', [{ id: 'first', type: 'Counted', data: 0 }]);

    const state = { isOver: false, cuts: 0, unanswered: 0 };
    const random = seededRandom('cuts');
    const cutting = (async () => {
      while (!state.isOver) {
        await systemClock.sleep(random.next() * 60);
        await network.cut();
        state.cuts += 1;
        await systemClock.sleep(random.next() * 20);
        await network.heal();
        await systemClock.sleep(20);
      }
    })();
    /** As a careful client does it: until it is answered, by the same id. */
    const append = async (writer: number, n: number): Promise<void> => {
      const id = `${writer}/${n}`;
      const event = { id, type: 'Counted', data: { n } };
      for (;;)
        try {
          // Half of them within a transaction of the application.
          if (n % 2 === 0) await store.events.append(`s-${writer}`, [event]);
          else
            await store.source.write((tx) =>
              store.events.appendIn(tx, [{ stream: `s-${writer}`, events: [event] }]),
            );
          return;
        } catch (error) {
          if (!isTallyError(error, 'COMMIT_UNKNOWN', 'STORE_UNREACHABLE', 'STORE_BUSY'))
            throw error;
          state.unanswered += 1;
          await systemClock.sleep(5);
        }
    };
    await Promise.all(
      Array.from({ length: WRITERS }, async (_, writer) => {
        for (let n = 0; n < EACH; n += 1) await append(writer, n);
      }),
    );
    state.isOver = true;
    await cutting;
    expect(state.cuts).toBeGreaterThan(2);
    expect(state.unanswered).toBeGreaterThan(0);

    const versions = new Map<string, number>();
    const ids: string[] = [];
    let position = 0;
    for await (const page of store.events.readAll())
      for (const event of page.events) {
        expect(event.position).toBe((position += 1));
        expect(event.version).toBe((versions.get(event.stream) ?? 0) + 1);
        versions.set(event.stream, event.version);
        ids.push(event.id);
      }
    const wanted = Array.from({ length: WRITERS }, (_, writer) =>
      Array.from({ length: EACH }, (_event, n) => `${writer}/${n}`),
    );
    expect(ids.toSorted()).toEqual(['first', ...wanted.flat()].toSorted());
  }, 60_000);

  test('whose clock goes back gives the events of a stream no earlier time', async () => {
    await using database = await freshDatabase();
    await using store = await postgres({ url: database.url, capture: 'events' }).open(context);
    const { events } = store;
    await events.append('other', [{ type: 'Counted', data: 0 }]);
    // As if it had been taken while the clock of the server was a day ahead.
    await query(
      database.url,
      `INSERT INTO _tally.events (stream, version, position, ends, bytes, schema_version, at, id, type, tags, data, metadata)
       VALUES ('s', 1, 2, true, 2, 1, now() + interval '1 day', 'ahead', 'Counted', '{}', '1', '{}')`,
    );
    const ahead = await events.find('ahead');
    await events.append('s', [{ type: 'Counted', data: 2 }], { expected: 1 });
    await store.source.write((tx) =>
      events.appendIn(tx, [{ stream: 's', expected: 2, events: [{ type: 'Counted', data: 3 }] }]),
    );
    await events.append('other', [{ type: 'Counted', data: 4 }]);
    const found: (readonly [number, boolean])[] = [];
    for await (const page of events.readAll())
      for (const { stream, version, atMs } of page.events)
        if (stream === 's') found.push([version, atMs >= (ahead?.atMs ?? Infinity)]);
    expect(found).toEqual([
      [1, true],
      [2, true],
      [3, true],
    ]);
    expect(await events.head()).toBe(5);
  });
});
