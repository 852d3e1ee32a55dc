import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventsConformance } from '../../src/conformance/events.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { eventSupports, sqlite, type SqliteEventsStore } from '../../src/stores/sqlite/index.ts';

const statements = {
  update: "UPDATE _tally_events SET data = '0'",
  delete: 'DELETE FROM _tally_events WHERE version = 2',
  truncate: 'DELETE FROM _tally_events',
};

async function subject(): Promise<{
  readonly open: () => Promise<SqliteEventsStore>;
  readonly turn: (byMs: number) => void;
  readonly remove: () => Promise<void>;
}> {
  const directory = await mkdtemp(join(tmpdir(), 'tally-events-'));
  let turnedMs = 0;
  const clock: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + turnedMs };
  const definition = sqlite({ file: join(directory, 'bank.db'), capture: 'events', pollMs: 5 });
  return {
    open: () => definition.open({ name: 'bank', clock, random: systemRandom }),
    turn: (byMs) => {
      turnedMs += byMs;
    },
    remove: () => rm(directory, { recursive: true }),
  };
}

describe('an event store in SQLite', () => {
  eventsConformance({
    test,
    supports: eventSupports,
    open: async () => {
      const { open, turn, remove } = await subject();
      let store = await open();
      const others: SqliteEventsStore[] = [];
      return {
        get events() {
          return store.events;
        },
        write: async (work) => (await store.source.write(work)).value,
        another: async () => {
          const other = await open();
          others.push(other);
          return other.events;
        },
        tamper: async (how) => store.client.exec(statements[how]),
        advance: turn,
        reopen: async () => {
          await store.close();
          store = await open();
        },
        dispose: async () => {
          for (const other of [store, ...others]) await other.close();
          await remove();
        },
      };
    },
  });

  test('refuses to replace an event, by any of its names', async () => {
    const { open, remove } = await subject();
    const store = await open();
    await store.events.append('s', [{ id: 'a', type: 'A', data: 1 }]);
    const replace = (position: number, stream: string, version: number, id: string): void =>
      store.client.exec(
        `INSERT OR REPLACE INTO _tally_events VALUES (${position}, '${stream}', ${version}, 1, 1, '${id}', 'B', 1, 1, NULL, NULL, NULL, '2', '{}')`,
      );
    expect(() => replace(1, 't', 1, 'b')).toThrow('never replaced');
    expect(() => replace(2, 's', 1, 'b')).toThrow('never replaced');
    expect(() => replace(2, 't', 1, 'a')).toThrow('never replaced');
    expect((await store.events.find('a'))?.data).toBe(1);
    await store.close();
    await remove();
  });
});
