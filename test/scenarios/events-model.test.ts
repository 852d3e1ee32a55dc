import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isTallyError, type EventStore, type ExpectedVersion, type StreamAppend } from 'tallystick';
import { memory } from 'tallystick/memory';
import { postgres } from 'tallystick/postgres';
import { sqlite } from 'tallystick/sqlite';
import type { Source } from '../../src/ports/source.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom, systemRandom } from '../../src/runtime/random.ts';
import { tempDir } from '../support/scenario.ts';
import { freshDatabase } from '../support/servers.ts';

const dir = tempDir();
const context = { name: 'bank', clock: systemClock, random: systemRandom };

interface Subject extends AsyncDisposable {
  readonly events: EventStore;
  readonly source: Source<unknown>;
}

const engines: Readonly<Record<string, () => Promise<Subject>>> = {
  memory: () => memory({ capture: 'events' }).open(context),
  sqlite: () => sqlite({ file: dir('bank.db'), capture: 'events' }).open(context),
  postgres: async () => {
    const database = await freshDatabase();
    const store = await postgres({ url: database.url, capture: 'events' }).open(context);
    return {
      events: store.events,
      source: store.source,
      [Symbol.asyncDispose]: async () => {
        await store.close();
        await database[Symbol.asyncDispose]();
      },
    };
  },
};

type Step =
  | { readonly kind: 'append'; readonly appends: readonly Planned[] }
  | {
      readonly kind: 'transaction';
      readonly parts: readonly (readonly Planned[])[];
      readonly commits: boolean;
    };

interface Planned {
  readonly stream: string;
  readonly expected: ExpectedVersion;
  /** Ids are few, so that some come again: with the same content, or with another. */
  readonly ids: readonly number[];
  readonly content: number;
}

const planned: fc.Arbitrary<Planned> = fc.record({
  stream: fc.constantFrom('a', 'b', 'c'),
  expected: fc.oneof(
    fc.constantFrom<ExpectedVersion>('any', 'any', 'none', 'exists'),
    fc.integer({ min: 0, max: 6 }),
  ),
  ids: fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 3 }),
  content: fc.integer({ min: 0, max: 1 }),
});
const together = fc.uniqueArray(planned, {
  minLength: 1,
  maxLength: 2,
  selector: ({ stream }) => stream,
});
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('append' as const), appends: together }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('transaction' as const),
        parts: fc.array(together, { minLength: 1, maxLength: 3 }),
        commits: fc.boolean(),
      }),
    },
  ),
  { maxLength: 14 },
);

class Unwanted extends Error {}

/** Streams and ids of one run; `base` makes them its own. */
function appendsOf(plan: readonly Planned[], base: string): readonly StreamAppend[] {
  return plan.map(({ stream, expected, ids, content }) => ({
    stream: `${base}/${stream}`,
    expected,
    events: ids.map((id) => ({ id: `${base}/${id}`, type: 'Done', data: { content } })),
  }));
}

async function outcome(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Unwanted) return 'rolled back';
    if (!isTallyError(error)) throw error;
    const { actual, id } = error.details;
    return { code: error.code, actual, id: error.code === 'EVENT_ID_REUSED' ? id : undefined };
  }
}

/** What a store says to each step, positions counted from where the run began. */
async function play(
  { events, source }: Subject,
  run: readonly Step[],
  base: string,
): Promise<unknown> {
  const head = await events.head();
  const said: unknown[] = [];
  for (const step of run) {
    if (step.kind === 'append')
      said.push(
        await outcome(async () =>
          (await events.appendMany(appendsOf(step.appends, base))).map((appended) => ({
            ...appended,
            offset: 0,
            position: appended.position - head,
          })),
        ),
      );
    else
      said.push(
        await outcome(async () => {
          const { value } = await source.write(async (tx) => {
            const parts = [];
            for (const part of step.parts)
              parts.push(await outcome(() => events.appendIn(tx, appendsOf(part, base))));
            if (!step.commits) throw new Unwanted();
            return parts;
          });
          return value;
        }),
      );
  }
  const stored: unknown[] = [];
  for await (const page of events.readAll({ after: head }))
    for (const event of page.events)
      stored.push({ ...event, atMs: 0, position: event.position - head });
  return { said, stored };
}

describe('an event store against the model', () => {
  test.each(['sqlite', 'postgres'])(
    '%s says and keeps what the one in memory does',
    async (engine) => {
      await using subject = await engines[engine]!();
      let runs = 0;
      await fc.assert(
        fc.asyncProperty(steps, async (run) => {
          await using model = await engines['memory']!();
          runs += 1;
          const base = `run-${runs}`;
          expect(await play(subject, run, base)).toEqual(await play(model, run, base));
        }),
        { numRuns: 60 },
      );
    },
    60_000,
  );
});

interface Operation {
  readonly from: number;
  readonly until: number;
  /** The version of the stream before and after it, as its answer tells. */
  readonly before: number;
  readonly after: number;
}

/** Calls of many clients at one stream, with what each was told and when. */
async function history(events: EventStore, seed: string): Promise<readonly Operation[]> {
  let now = 0;
  const operations: Operation[] = [];
  await Promise.all(
    Array.from({ length: 12 }, async (_, client) => {
      const random = seededRandom(`${seed}/${client}`);
      let known = 0;
      for (let n = 0; n < 12; n += 1) {
        const from = (now += 1);
        let [before, after] = [0, 0];
        if (random.next() < 0.3) before = after = await events.version('shared');
        else {
          const expected = random.next() < 0.5 ? known : 'any';
          const count = 1 + Math.floor(random.next() * 3);
          const added = Array.from({ length: count }, () => ({ type: 'Done', data: null }));
          try {
            const appended = await events.append('shared', added, { expected });
            [before, after] = [appended.firstVersion - 1, appended.version];
            if (expected !== 'any') expect(before).toBe(expected);
          } catch (error) {
            if (!isTallyError(error, 'STREAM_CONFLICT')) throw error;
            before = after = Number(error.details['actual']);
          }
        }
        known = after;
        operations.push({ from, until: (now += 1), before, after });
      }
    }),
  );
  return operations;
}

describe('concurrent histories of a stream', () => {
  test.each(Object.keys(engines))(
    '%s: there is one order that explains every answer',
    async (engine) => {
      await using subject = await engines[engine]!();
      const seed = String(systemRandom.next());
      const operations = await history(subject.events, seed);
      // Appends take up the versions, each its own; in that order nobody sees what was not yet, or no longer.
      const appends = operations
        .filter(({ before, after }) => after > before)
        .toSorted((left, right) => left.before - right.before);
      let version = 0;
      for (const { before, after } of appends) {
        expect(before, `seed ${seed}`).toBe(version);
        version = after;
      }
      for (const earlier of operations)
        for (const later of operations)
          if (earlier.until < later.from)
            expect(later.before, `seed ${seed}`).toBeGreaterThanOrEqual(earlier.after);
    },
    30_000,
  );
});
