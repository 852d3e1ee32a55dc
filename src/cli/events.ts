import { inspect } from 'node:util';
import type { TallyApp } from '../app/definition.ts';
import { encodeValue } from '../core/codec.ts';
import { TallyError } from '../core/errors.ts';
import type { Value } from '../core/row.ts';
import type { Decider } from '../patterns/events/decider.ts';
import type { ReplayRange } from '../patterns/events/replay.ts';
import type { EventStore, StoredEvent } from '../ports/events.ts';
import { systemClock } from '../runtime/clock.ts';
import { systemRandom } from '../runtime/random.ts';
import type { Call, Command } from './command.ts';
import { nameOf } from './names.ts';

/** Options by which a command says until when. */
export const untilOptions: Command['options'] = {
  version: { takes: 'N', about: 'as of this version of the stream' },
  at: {
    takes: 'TIME',
    about: 'as of this moment: 2026-01-31T12:00:00Z, or milliseconds since 1970',
  },
};

/** The option that names the store, where it is not known from a decider. */
export const storeOption: Command['options'] = {
  store: {
    takes: 'STORE',
    about: 'the store of the events, if no decider of the stream is declared',
  },
};

/** Opens the event store that is meant, and no other store, for the time of `work`. Throws CONFIG_INVALID, CAPABILITY_MISSING. */
export async function withEvents<Result>(
  app: TallyApp,
  named: string | undefined,
  work: (events: EventStore, store: string) => Promise<Result>,
): Promise<Result> {
  const store =
    named === undefined
      ? onlyStoreWithEvents(app)
      : nameOf('store', named, Object.keys(app.stores));
  const definition = app.stores[store];
  if (definition === undefined) throw noEvents(store);
  await using open = await definition.open({
    name: store,
    clock: systemClock,
    random: systemRandom,
  });
  if (open.events === undefined) throw noEvents(store);
  // Awaited here: the store is closed as soon as this function returns.
  const result = await work(open.events, store);
  return result;
}

/** Which store a command is about: of --store, or that of the stream's decider; undefined if it is to be found out. */
export function storeOf(call: Call, decided: DeciderPlace | undefined): string | undefined {
  const { store } = call.options;
  return typeof store === 'string' ? store : decided?.store;
}

/** A declared decider, and the store that its events are in. */
export interface DeciderPlace {
  readonly decider: Decider;
  readonly store: string;
}

/** The decider of a stream `CATEGORY-ID`, if one is declared. */
export function deciderOf(app: TallyApp, stream: string): DeciderPlace | undefined {
  const [category] = stream.split('-', 1);
  return deciderPlaces(app).find(({ decider }) => decider.category === category);
}

/** The decider of a category. Throws CONFIG_INVALID with the nearest one. */
export function deciderNamed(app: TallyApp, category: string): DeciderPlace {
  const places = deciderPlaces(app);
  nameOf(
    'decider',
    category,
    places.map(({ decider }) => decider.category),
  );
  const place = places.find(({ decider }) => decider.category === category);
  if (place === undefined) throw undeclared(category);
  return place;
}

/** The error for a stream that no decider is declared for. */
export function undeclared(stream: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `no decider of ${stream} is declared, so its state is not known`,
    where: 'tally.deciders',
    mend: 'name the decider in tally({ deciders: { STORE: [decider] } })',
  });
}

/** How far to go, of --version and --at. Throws CONFIG_INVALID. */
export function rangeOf(call: Call, signal: AbortSignal): ReplayRange {
  const { version, at } = call.options;
  return {
    signal,
    ...(typeof version === 'string' ? { toVersion: versionOf(version, '--version') } : {}),
    ...(typeof at === 'string' ? { toMs: momentOf(at) } : {}),
  };
}

/** A whole number of an option. Throws CONFIG_INVALID. */
export function versionOf(text: string, option: string): number {
  const version = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(version) && version >= 0) return version;
  throw new TallyError('CONFIG_INVALID', {
    what: `${option} cannot be ${JSON.stringify(text)}`,
    mend: 'give a whole number from 0 up',
  });
}

function momentOf(text: string): number {
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isFinite(ms)) return ms;
  throw new TallyError('CONFIG_INVALID', {
    what: `--at cannot be ${JSON.stringify(text)}`,
    mend: 'give a time such as 2026-01-31T12:00:00Z, or milliseconds since 1970',
  });
}

/** An event as JSON, its values in their canonical form. */
export function eventJson(event: StoredEvent): object {
  return { ...event, data: plain(event.data), metadata: plain(event.metadata) };
}

/** A state, or a part of one, as what JSON can say: canonical where it is a value, as text where it is not. */
export function plain(value: unknown): unknown {
  if (value === undefined) return undefined;
  try {
    return JSON.parse(encodeValue(value as Value));
  } catch {
    return inspect(value, { depth: 8 });
  }
}

/** A state for people. */
export function shown(value: unknown): string {
  return inspect(value, { depth: 8, breakLength: 100, sorted: true });
}

/** When an event was taken, for people. */
export function momentText(atMs: number): string {
  return new Date(atMs).toISOString();
}

/** The data of an event on one line, cut where a screen ends. */
export function dataText(event: StoredEvent, charactersMax = 100): string {
  const text = encodeValue(event.data);
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax)}…`;
}

function deciderPlaces(app: TallyApp): readonly DeciderPlace[] {
  return Object.entries(app.deciders).flatMap(([store, deciders]) =>
    deciders.map((decider) => ({ decider, store })),
  );
}

function onlyStoreWithEvents(app: TallyApp): string {
  const stores = Object.keys(app.deciders);
  const [store] = stores;
  if (store !== undefined && stores.length === 1) return store;
  throw new TallyError('CONFIG_INVALID', {
    what: 'it is not known which store is meant',
    mend: `name it with --store: ${Object.keys(app.stores).join(', ')}`,
  });
}

function noEvents(store: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `store ${store} is no event store`,
    where: `tally.stores.${store}`,
    mend: "declare it with capture: 'events', or name another one with --store",
  });
}
