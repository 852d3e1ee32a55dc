import { isTallyError } from '../core/errors.ts';
import type { EventPage, EventStore, NewEvent, StreamAppend } from '../ports/events.ts';
import type { Liar } from './liars-shape.ts';

/** Event stores that each break one promise of the port. */
export const eventsLiars: Readonly<Record<string, Liar<EventStore>>> = {
  ignoresTheExpectation: {
    lie: 'appends to a stream that is not as expected',
    caughtBy: 'EV-012',
    wrap: (events) => ({
      ...delegate(events),
      append: (stream, added) => events.append(stream, added),
    }),
  },
  forgetsNone: {
    lie: 'takes `none` for `any`',
    caughtBy: 'EV-030',
    wrap: (events) => ({
      ...delegate(events),
      append: (stream, added, { expected } = {}) =>
        events.append(
          stream,
          added,
          expected === undefined || expected === 'none' ? {} : { expected },
        ),
    }),
  },
  looksFirst: {
    lie: 'looks at the version in one step and appends in another',
    caughtBy: 'EV-034',
    wrap: (events) => ({
      ...delegate(events),
      append: async (stream, added, { expected } = {}) => {
        const version = await events.version(stream);
        const isFit = typeof expected !== 'number' || expected === version;
        return events.append(stream, added, isFit || expected === undefined ? {} : { expected });
      },
    }),
  },
  appendsOneByOne: {
    lie: 'appends to several streams in several steps',
    caughtBy: 'EV-014',
    wrap: (events) => ({
      ...delegate(events),
      appendMany: async (appends) => {
        const done = [];
        for (const { stream, events: added, expected } of appends)
          done.push(await events.append(stream, added, expected === undefined ? {} : { expected }));
        return done;
      },
    }),
  },
  writesAgain: {
    lie: 'writes again what is appended again',
    caughtBy: 'EV-020',
    wrap: (events) => ({
      ...delegate(events),
      append: (stream, added) => events.append(stream, added.map(withoutId)),
    }),
  },
  swallowsAnotherContent: {
    lie: 'answers for other content under an id that it knows',
    caughtBy: 'EV-021',
    wrap: (events) => ({
      ...delegate(events),
      append: async (stream, added, options) => {
        try {
          return await events.append(stream, added, options);
        } catch (error) {
          if (!isTallyError(error, 'EVENT_ID_REUSED')) throw error;
          const known = await events.find(added[0]?.id ?? '');
          const { version = 0, position = 0 } = known ?? {};
          const ids = added.map(({ id = '' }) => id);
          const place = { firstVersion: version, version, position, offset: position };
          return { stream, ids, repeated: true, ...place };
        }
      },
    }),
  },
  skipsTheLate: {
    lie: 'lets its readers skip what is appended while they read',
    caughtBy: 'EV-035',
    wrap: (events) => ({
      ...delegate(events),
      readAll: async function* (range = {}) {
        const isLate = (range.after ?? 0) > 0;
        for await (const page of events.readAll(range))
          yield isLate ? { ...page, events: page.events.slice(1) } : page;
      },
    }),
  },
  doublesLive: {
    lie: 'hands out the last of the past again when it becomes live',
    caughtBy: 'EV-046',
    wrap: (events) => ({
      ...delegate(events),
      follow: async function* (range) {
        let last: EventPage['events'] = [];
        for await (const page of events.follow(range)) {
          yield { ...page, events: [...last, ...page.events] };
          last = page.events.slice(-1);
        }
      },
    }),
  },
  keepsWhatRolledBack: {
    lie: 'keeps events of a transaction that was rolled back',
    caughtBy: 'EV-060',
    wrap: (events) => ({
      ...delegate(events),
      appendIn: async (tx, appends) => {
        const placed = await events.appendIn(tx, appends);
        void later(events, appends);
        return placed;
      },
    }),
  },
  refusesTheRest: {
    lie: 'fails everybody for the conflict of one',
    caughtBy: 'EV-032',
    wrap: (events) => {
      let failed: unknown;
      return {
        ...delegate(events),
        append: async (...given) => {
          try {
            const done = await events.append(...given);
            if (failed !== undefined) throw failed;
            return done;
          } catch (error) {
            failed = error;
            throw error;
          }
        },
      };
    },
  },
  letsTimeGoBack: {
    lie: 'lets the time of a stream go back',
    caughtBy: 'EV-026',
    wrap: (events) => ({
      ...delegate(events),
      readStream: async function* (stream, range) {
        for await (const page of events.readStream(stream, range))
          yield page.map((event) => ({ ...event, atMs: event.atMs - event.version * 10_000_000 }));
      },
    }),
  },
};

async function later(events: EventStore, appends: readonly StreamAppend[]): Promise<void> {
  await events.appendMany(appends).catch(() => undefined);
}

function withoutId({ type, data }: NewEvent): NewEvent {
  return { type, data };
}

function delegate(events: EventStore): EventStore {
  return {
    supports: events.supports,
    append: (stream, added, options) => events.append(stream, added, options),
    appendMany: (appends) => events.appendMany(appends),
    appendIn: (tx, appends) => events.appendIn(tx, appends),
    readStream: (stream, range) => events.readStream(stream, range),
    readAll: (range) => events.readAll(range),
    follow: (range) => events.follow(range),
    find: (id) => events.find(id),
    version: (stream) => events.version(stream),
    head: () => events.head(),
    streams: (options) => events.streams(options),
  };
}
