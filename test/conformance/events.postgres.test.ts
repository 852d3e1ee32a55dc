import { describe, test } from 'vitest';
import { eventsConformance } from '../../src/conformance/events.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  eventSupports,
  postgres,
  type PostgresEventsStore,
} from '../../src/stores/postgres/index.ts';
import { freshDatabase } from '../support/servers.ts';

const context = { name: 'bank', clock: systemClock, random: systemRandom };
const statements = {
  update: `UPDATE _tally.events SET data = '0'`,
  delete: 'DELETE FROM _tally.events',
  truncate: 'TRUNCATE _tally.events',
};

describe('an event store in PostgreSQL', () => {
  eventsConformance({
    test,
    supports: eventSupports,
    open: async () => {
      const database = await freshDatabase();
      const open = (): Promise<PostgresEventsStore> =>
        postgres({ url: database.url, capture: 'events', pollMs: 5 }).open(context);
      let store = await open();
      const others: PostgresEventsStore[] = [];
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
        tamper: async (how) => {
          await store.client.query(statements[how]);
        },
        reopen: async () => {
          await store.close();
          store = await open();
        },
        dispose: async () => {
          for (const other of [store, ...others]) await other.close();
          await database[Symbol.asyncDispose]();
        },
      };
    },
  });
});
