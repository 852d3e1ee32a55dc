import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { crashPoints, type CrashPoint } from '../../src/observe/point.ts';
import type { EventStore, StoredEvent } from '../../src/ports/events.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom, systemRandom } from '../../src/runtime/random.ts';
import { postgres } from '../../src/stores/postgres/index.ts';
import { sqlite } from '../../src/stores/sqlite/index.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';
import { runUntilKilled, type Kill } from './child.ts';

const context = { name: 'numbers', clock: systemClock, random: systemRandom };

/**
 * What was acknowledged is there, in one dense order; what was not is there as a whole or not at all. Numbers are given
 * out again after each kill by what is there, so none can be missing, and an id that came twice would be an error.
 */
async function checkNumbers(events: EventStore, acknowledged: number): Promise<number> {
  const all: StoredEvent[] = [];
  for await (const page of events.readAll()) all.push(...page.events);
  const versions = new Map<string, number>();
  const values = new Set<number>();
  for (const [index, { position, stream, version, data }] of all.entries()) {
    expect(position).toBe(index + 1);
    expect(version).toBe((versions.get(stream) ?? 0) + 1);
    versions.set(stream, version);
    values.add((data as { readonly value: number }).value);
  }
  expect(values.size).toBe(all.length);
  for (let value = 1; value <= acknowledged; value += 1) expect(values.has(value)).toBe(true);
  return all.length;
}

async function sweep(
  engine: 'sqlite' | 'postgres',
  place: string,
  rounds: readonly Kill[],
): Promise<void> {
  let end = 0;
  for (const how of rounds) {
    const acknowledged = await runUntilKilled('events-appender.ts', [engine, place], how);
    await using store = await (engine === 'sqlite'
      ? sqlite({ file: place, capture: 'events' }).open(context)
      : postgres({ url: place, capture: 'events' }).open(context));
    end = await checkNumbers(store.events, Math.max(end, acknowledged));
  }
  expect(end).toBeGreaterThan(20);
}

const embedded = new Set<CrashPoint>(['events.before-commit', 'events.after-commit-before-answer']);
const points = crashPoints.filter((name) => name.startsWith('events.'));
const kills = (name: CrashPoint): readonly Kill[] =>
  [1, 5].map((count) => ({ crash: `${name}:${count}` }));
const random = (seed: string): readonly Kill[] => {
  const draw = seededRandom(seed);
  return Array.from({ length: 2 }, () => ({ killAfterLines: 2 + Math.floor(draw.next() * 60) }));
};

describe('appends to an event store in SQLite', () => {
  const swept = async (rounds: readonly Kill[]): Promise<void> => {
    const dir = await mkdtemp(join(tmpdir(), 'tally-events-crash-'));
    await sweep('sqlite', join(dir, 'events.db'), rounds);
    await rm(dir, { recursive: true });
  };
  test.each([...embedded])(
    'survive a kill at %s, again and again',
    (name) => swept(kills(name)),
    60_000,
  );
  test('survive kills at random moments', () => swept(random('sqlite events')), 60_000);
});

describe.skipIf(!hasPostgres)('appends to an event store in PostgreSQL', () => {
  const swept = async (rounds: readonly Kill[]): Promise<void> => {
    await using database = await freshDatabase();
    await sweep('postgres', database.url, rounds);
  };
  test.each(points)('survive a kill at %s, again and again', (name) => swept(kills(name)), 60_000);
  test('survive kills at random moments', () => swept(random('postgres events')), 60_000);
});
