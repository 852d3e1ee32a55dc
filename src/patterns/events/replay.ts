import { errorText, TallyError } from '../../core/errors.ts';
import type { EventStore, StoredEvent } from '../../ports/events.ts';
import type { Decider } from './decider.ts';
import type { DeciderTypes } from './event.ts';

/** An aggregate as of one of its events. */
export interface Replayed<State> {
  readonly state: State;
  /** The version of the last event that is in the state; 0: none. */
  readonly version: number;
  /** That event. */
  readonly last: Pick<StoredEvent, 'id' | 'position' | 'atMs'> | undefined;
}

/** From where to where a stream is replayed. */
export interface ReplayRange {
  /** The last version wanted, inclusive. */
  readonly toVersion?: number;
  /** Only events that were taken at or before this moment, in milliseconds since 1970. */
  readonly toMs?: number;
  readonly signal?: AbortSignal;
}

/** The state before any event. */
export function beforeAll<State>(initial: State): Replayed<State> {
  return { state: initial, version: 0, last: undefined };
}

/**
 * The state after the events of a stream that follow on `from`. Events are read in pages and let go of, so memory is that
 * of one page and one state, however long the stream is. `watch` is shown each event. Throws EVENT_UNKNOWN,
 * EVENT_INVALID, PROJECTION_FAILED if `evolve` throws, STORE_CORRUPT if a version is missing or double.
 */
export async function replay<Types extends DeciderTypes>(
  decider: Decider<Types>,
  events: EventStore,
  stream: string,
  options: ReplayRange & {
    readonly from?: Replayed<Types['state']>;
    readonly watch?: (stored: StoredEvent, state: Types['state']) => void;
  } = {},
): Promise<Replayed<Types['state']>> {
  const { from = beforeAll<Types['state']>(decider.initial), toVersion, toMs = Infinity } = options;
  const { signal, watch } = options;
  const { types } = decider;
  let { state, version, last } = from;
  if (toVersion !== undefined && toVersion <= version) return from;
  const pages = events.readStream(stream, {
    from: version + 1,
    ...(toVersion === undefined ? {} : { to: toVersion }),
    ...(signal === undefined ? {} : { signal }),
  });
  for await (const page of pages) {
    for (const stored of page) {
      if (stored.atMs > toMs) return { state, version, last };
      if (stored.version !== version + 1) throw outOfOrder(stored, version + 1);
      // Awaited only where a schema is asynchronous: a promise for each event would cost more than all the rest.
      const read = types.read(stored);
      state = evolved(decider, state, read instanceof Promise ? await read : read, stored);
      version = stored.version;
      last = stored;
      watch?.(stored, state);
    }
  }
  return { state, version, last };
}

/** The state after one more event. Throws PROJECTION_FAILED, with what `evolve` threw as its cause. */
export function evolved<Types extends DeciderTypes>(
  decider: Decider<Types>,
  state: Types['state'],
  event: Types['event'],
  at: { readonly stream: string; readonly version: number },
): Types['state'] {
  try {
    return decider.evolve(state, event);
  } catch (cause) {
    throw new TallyError('PROJECTION_FAILED', {
      what: `evolve threw for ${event.type}: ${errorText(cause, 200)}`,
      where: `event ${at.version} of ${at.stream}`,
      mend: 'let evolve accept every event that was ever decided; it says what happened, and does not judge it',
      details: { stream: at.stream, version: at.version, type: event.type },
      cause,
    });
  }
}

function outOfOrder({ stream, version }: StoredEvent, wanted: number): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what: `the events of a stream are not whole: version ${version} came where ${wanted} should be`,
    where: stream,
    mend: 'look for what deleted or wrote events other than the event store; restore it from a backup',
    details: { stream, version, wanted },
  });
}
