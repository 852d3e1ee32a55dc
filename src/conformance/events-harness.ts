import assert from 'node:assert/strict';
import { isTallyError, type ErrorCode, type TallyError } from '../core/errors.ts';
import type {
  AllRange,
  EventStore,
  EventStoreSupports,
  NewEvent,
  StoredEvent,
  StreamRange,
} from '../ports/events.ts';
import type { SuiteRunner } from './harness.ts';

/** One event store under test: events that outlive the connections made to it. */
export interface EventsSubject {
  /** Of the present connection. */
  readonly events: EventStore;
  /** Runs a transaction of the application: `work` gets what `appendIn` takes. Rejects with what `work` throws. */
  readonly write: <Result>(work: (tx: unknown) => Result | Promise<Result>) => Promise<Result>;
  /** Another connection to the same events, as another process would have. */
  readonly another: () => Promise<EventStore>;
  /** Tries to change a stored event behind the port; rejects if the store refuses it. */
  readonly tamper: (how: 'update' | 'delete' | 'truncate') => Promise<void>;
  /** Moves the clock that the store takes its times from; back, if negative. Not given: the clock is not the subject's. */
  readonly advance?: (byMs: number) => void;
  /** Drops the connection, and connects to the same events again. */
  readonly reopen: () => Promise<void>;
  /** Closes and removes everything. */
  readonly dispose: () => Promise<void>;
}

/** What {@link eventsConformance} needs of an adapter. */
export interface EventsConformanceOptions extends SuiteRunner {
  /** The adapter's manifest: decides which of each pair of cases runs. */
  readonly supports: EventStoreSupports;
  /** A fresh, empty subject. */
  readonly open: () => Promise<EventsSubject>;
}

/** One named policy of the suite. Two cases with one id are a pair. */
export interface EventsCase {
  readonly id: string;
  readonly policy: string;
  readonly when?: (supports: EventStoreSupports) => boolean;
  readonly run: (subject: EventsSubject) => Promise<void>;
}

/** An event that says a number. */
export function event(n: number, rest: Partial<NewEvent> = {}): NewEvent {
  return { type: 'Counted', data: { n }, ...rest };
}

/** Some events, counted from a number. */
export function some(count: number, from = 1): readonly NewEvent[] {
  return Array.from({ length: count }, (_, index) => event(from + index));
}

/** All events of a part of a stream; none of its pages may be empty. */
export async function streamOf(
  events: EventStore,
  stream: string,
  range?: StreamRange,
): Promise<readonly StoredEvent[]> {
  const found: StoredEvent[] = [];
  for await (const page of events.readStream(stream, range)) {
    assert.ok(page.length > 0, 'no page of a stream is empty');
    found.push(...page);
  }
  return found;
}

/** All events of a part of the whole order. */
export async function allOf(events: EventStore, range?: AllRange): Promise<readonly StoredEvent[]> {
  const found: StoredEvent[] = [];
  let through = range?.after ?? 0;
  for await (const page of events.readAll(range)) {
    assert.ok(page.through >= through, 'a page goes on');
    ({ through } = page);
    found.push(...page.events);
  }
  return found;
}

/** The numbers that events say. */
export function numbers(events: readonly StoredEvent[]): readonly unknown[] {
  return events.map(({ data }) => (data as { readonly n: number }).n);
}

/** Asserts that positions are 1, 2, 3, …, and that versions are so in each stream. */
export async function assertDense(events: EventStore): Promise<readonly StoredEvent[]> {
  const all = await allOf(events);
  const versions = new Map<string, number>();
  for (const [index, { position, stream, version }] of all.entries()) {
    assert.equal(position, index + 1, 'positions have no gaps');
    assert.equal(version, (versions.get(stream) ?? 0) + 1, `versions of ${stream} are in order`);
    versions.set(stream, version);
  }
  assert.equal(await events.head(), all.length);
  return all;
}

/** Asserts that a promise rejects with this code; answers the error. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<TallyError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(isTallyError(error, code), `expected ${code}, got ${String(error)}`);
    return error;
  }
  return assert.fail(`expected ${code}, and it was done`);
}
