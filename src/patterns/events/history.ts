import { isDeepStrictEqual } from 'node:util';
import { errorText, isTallyError, type ErrorCode } from '../../core/errors.ts';
import type { EventStore, StoredEvent } from '../../ports/events.ts';
import type { Decider } from './decider.ts';
import type { DeciderTypes } from './event.ts';
import { evolved, type ReplayRange } from './replay.ts';

/** One event of an aggregate, and what it made of it. */
export interface Step<State> {
  readonly stored: StoredEvent;
  readonly before: State;
  readonly after: State;
}

/**
 * The life of an aggregate, event by event, with the state before and after each. Throws as loading it does, at the event
 * that cannot be read: what came before has been handed out by then.
 */
export async function* steps<Types extends DeciderTypes>(
  decider: Decider<Types>,
  events: EventStore,
  stream: string,
  { toVersion, toMs = Infinity, signal }: ReplayRange = {},
): AsyncIterable<Step<Types['state']>> {
  let state: Types['state'] = decider.initial;
  const pages = events.readStream(stream, {
    ...(toVersion === undefined ? {} : { to: toVersion }),
    ...(signal === undefined ? {} : { signal }),
  });
  for await (const page of pages)
    for (const stored of page) {
      if (stored.atMs > toMs) return;
      const before = state;
      state = evolved(decider, before, await decider.types.read(stored), stored);
      yield { stored, before, after: state };
    }
}

/** What another decider makes of one stream. */
export type StreamDifference<State = unknown> =
  | {
      readonly kind: 'changed';
      readonly stream: string;
      /** The last version, at which the two states are compared. */
      readonly version: number;
      /** The first version at which they differ. */
      readonly since: number;
      readonly present: State;
      readonly changed: State;
    }
  | {
      /** One of them cannot read the stream, or both. */
      readonly kind: 'unreadable';
      readonly stream: string;
      readonly version: number;
      readonly by: 'present' | 'changed';
      readonly code: ErrorCode | undefined;
      readonly message: string;
    };

/** What a dry run looks at. */
export interface DryRunOptions<Types extends DeciderTypes> {
  readonly events: EventStore;
  /** The decider that runs now. */
  readonly present: Decider<Types>;
  /** The one that would take its place; its states may have other types. */
  readonly changed: Decider;
  readonly signal?: AbortSignal;
}

/** What a dry run has looked at. */
export interface DryRun {
  readonly streams: number;
  readonly events: number;
  readonly different: number;
}

/** Names of streams that are asked for at once. */
const STREAMS_PER_PAGE = 500;

/**
 * What a changed decider would make of the history that is there: hands each stream to `told` whose last state would be
 * another, or that could not be read. States are compared by value. Nothing is written; memory is that of one page of
 * events, one page of names and two states.
 */
export async function dryRun<Types extends DeciderTypes>(
  { events, present, changed, signal }: DryRunOptions<Types>,
  told: (difference: StreamDifference) => void,
): Promise<DryRun> {
  const total = { streams: 0, events: 0, different: 0 };
  for await (const stream of streamsOf(events, present.category)) {
    signal?.throwIfAborted();
    const compared = await compare({ events, present, changed }, stream);
    total.streams += 1;
    total.events += compared.events;
    if (compared.difference === undefined) continue;
    total.different += 1;
    told(compared.difference);
  }
  return total;
}

/** The streams of a category, in the order of their names. */
async function* streamsOf(events: EventStore, category: string): AsyncIterable<string> {
  const prefix = `${category}-`;
  for (let after: string | undefined; ;) {
    const names = await events.streams({
      prefix,
      limit: STREAMS_PER_PAGE,
      ...(after === undefined ? {} : { after }),
    });
    yield* names;
    after = names.at(-1);
    if (after === undefined || names.length < STREAMS_PER_PAGE) return;
  }
}

async function compare(
  { events, present, changed }: Pick<DryRunOptions<DeciderTypes>, 'events' | 'present' | 'changed'>,
  stream: string,
): Promise<{ readonly events: number; readonly difference: StreamDifference | undefined }> {
  let [left, right]: readonly unknown[] = [present.initial, changed.initial];
  let version = 0;
  let since: number | undefined;
  for await (const page of events.readStream(stream))
    for (const stored of page) {
      ({ version } = stored);
      let by: 'present' | 'changed' = 'present';
      try {
        left = evolved(present, left, await present.types.read(stored), stored);
        by = 'changed';
        right = evolved(changed, right, await changed.types.read(stored), stored);
      } catch (error) {
        const code = isTallyError(error) ? error.code : undefined;
        const message = errorText(error, 500);
        return {
          events: version,
          difference: { kind: 'unreadable', stream, version, by, code, message },
        };
      }
      if (isDeepStrictEqual(left, right)) since = undefined;
      else since ??= version;
    }
  if (since === undefined) return { events: version, difference: undefined };
  return {
    events: version,
    difference: { kind: 'changed', stream, version, since, present: left, changed: right },
  };
}
