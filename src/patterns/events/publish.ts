import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../../core/options.ts';
import type { Row, Value } from '../../core/row.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import type { EventStore, StoredEvent } from '../../ports/events.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import { BACKOFF_DEFAULT, retry } from '../../runtime/backoff.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';

/** Where events are published to, such as a `redisStream`: it takes messages in their order, all of a call or none. */
export interface Topic {
  publish(messages: readonly { readonly key: string; readonly value: Value }[]): Promise<unknown>;
}

/** What is published, and where its place is kept. */
export interface PublishOptions {
  /** Names the publication: its place is kept under it. */
  readonly name: string;
  /** Keeps the place. To be as durable as the topic: what it loses is published again. */
  readonly places: KeyValue;
  readonly types?: readonly string[];
  readonly tags?: readonly string[];
  /** Messages of one call to the topic, which a crash repeats. Default 500; not more than the topic has room for. */
  readonly messagesMax?: number;
  /** Ends the publication. */
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Little enough that what a crash repeats is little. */
const MESSAGES_DEFAULT = 500;

const optionNames = [
  'name',
  'places',
  'types',
  'tags',
  'messagesMax',
  'signal',
  'clock',
  'random',
] as const;

/**
 * Publishes the events of a store, in the order of all, until the signal aborts: each at least once, with its id as the
 * key and its `position` in the value. Whoever has seen a position drops what comes at or below it: what is left is every
 * event once, in order, also where two publishers ran at the same time. A topic that is away or full (STORE_UNREACHABLE,
 * LOG_FULL) is waited for; what it refuses for good (ROW_TOO_LARGE) ends the publication with that error, because to
 * leave out an event is not for the publisher to decide. Throws HISTORY_LOST if the store has gone back behind what was
 * published.
 */
export async function publishEvents(
  events: Pick<EventStore, 'follow' | 'readAll'>,
  topic: Topic,
  options: PublishOptions,
): Promise<void> {
  checkOptions(options, optionNames, 'publishEvents');
  const {
    places,
    types,
    tags,
    signal,
    messagesMax = MESSAGES_DEFAULT,
    clock = systemClock,
    random = systemRandom,
  } = options;
  checkNumber(messagesMax, 'publishEvents.messagesMax', { min: 1, integer: true });
  const name = `publication/${checkString(options.name, 'publishEvents.name', { charactersMax: 200 })}`;
  const waiting = { attemptsMax: Infinity, backoff: BACKOFF_DEFAULT, clock, random, signal };
  try {
    const after = await retry(() => placeIn(places, name, events), waiting);
    const filter = {
      ...(types === undefined ? {} : { types }),
      ...(tags === undefined ? {} : { tags }),
    };
    for await (const page of events.follow({ after, signal, ...filter }))
      for (let from = 0; from < page.events.length; from += messagesMax) {
        const some = page.events.slice(from, from + messagesMax);
        const messages = some.map((event) => ({ key: event.id, value: valueOf(event) }));
        await retry(() => topic.publish(messages), waiting);
        // After the messages, never before. Otherwise: 1. the place is kept  2. crash  3. they were never published.
        const last = some.at(-1);
        if (last === undefined) continue;
        const place = { position: last.position, id: last.id };
        await retry(() => places.set(name, place), waiting);
      }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The position after which to go on, if the event that was published last still stands there. */
async function placeIn(
  places: KeyValue,
  name: string,
  events: Pick<EventStore, 'readAll'>,
): Promise<number> {
  const kept = (await places.get(name))?.value as
    { readonly position: number; readonly id: string } | undefined;
  if (kept === undefined) return 0;
  const { position, id } = kept;
  for await (const page of events.readAll({ after: position - 1, upTo: position }))
    if (page.events.some((event) => event.position === position && event.id === id))
      return position;
  throw new TallyError('HISTORY_LOST', {
    what: `event ${id} was published from position ${position}, where it no longer is: the store went back`,
    where: name,
    mend: 'tell those who read it; then delete the entry, which publishes everything again, or set it to a position to go on after',
    details: { position, id },
  });
}

function valueOf(event: StoredEvent): Row {
  const { correlationId = null, causationId = null, tags, ...rest } = event;
  return { ...rest, correlationId, causationId, tags: [...tags] };
}
