import { encodeValue } from '../../core/codec.ts';
import { digestOfText } from '../../core/digest.ts';
import { isTallyError, TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import { isStandardSchema, type StandardSchema } from '../../core/standard-schema.ts';
import type { DataOf, DeciderTypes, DomainEvent, EventType } from './event.ts';
import { eventTypes, type EventTypes } from './upcast.ts';

/** When the state of an aggregate is kept beside its events, so that loading it need not read all of them. */
export interface SnapshotPolicy<State> {
  /** A snapshot is taken once this many events have come since the last one. */
  readonly every: number;
  /**
   * Raise it when `evolve` means something else than before: older snapshots are then left aside. That `evolve` itself,
   * `initial` or an upcast has other text is noticed without it; that a function they call has, is not.
   */
  readonly version: number;
  /** How a state becomes a value that can be kept, and back. Not needed for a state that is one. */
  encode?(state: State): Value;
  decode?(kept: Value): State;
}

/** What a decider is made of. */
export interface DeciderOptions<Types extends DeciderTypes> {
  /** Names the kind of aggregate: the stream of aggregate `7` of `account` is `account-7`. No `-` in it. */
  readonly category: string;
  /** The state before any event. It is frozen: `evolve` returns a new state, it does not change the one it is given. */
  readonly initial: Types['state'];
  /**
   * What happens because of a command: a pure function, without clock, randomness or I/O (a command carries the time or
   * the number that it needs). No events: nothing is to be done. A command that may not be is refused by throwing
   * {@link refuse}.
   */
  readonly decide: (command: Types['command'], state: Types['state']) => readonly Types['event'][];
  /** The state after an event: a pure function. */
  readonly evolve: (state: Types['state'], event: Types['event']) => Types['state'];
  /** Every type of event, with its present schema version and what older ones become. */
  readonly events: {
    readonly [Type in Types['event']['type']]: EventType<DataOf<Types['event'], Type>>;
  };
  /** What commands must fit. What the schema hands back is what is decided about. */
  readonly command?: StandardSchema<Types['command']>;
  readonly snapshot?: SnapshotPolicy<Types['state']>;
}

/** A checked decider: the pure heart of an aggregate. */
export interface Decider<Types extends DeciderTypes = DeciderTypes> {
  readonly category: string;
  readonly initial: Types['state'];
  readonly command: StandardSchema<Types['command']> | undefined;
  readonly snapshot: SnapshotPolicy<Types['state']> | undefined;
  readonly types: EventTypes;
  /** {@link DeciderOptions.decide}, its answer looked at: a list of events. Throws EVENT_INVALID, and what it threw. */
  decide(command: Types['command'], state: Types['state']): readonly Types['event'][];
  evolve(state: Types['state'], event: Types['event']): Types['state'];
  /** Changes with what a kept state depends on. */
  readonly fingerprint: string;
}

const optionNames = [
  'category',
  'initial',
  'decide',
  'evolve',
  'events',
  'command',
  'snapshot',
] as const;
const snapshotNames = ['every', 'version', 'encode', 'decode'] as const;

/** Events that one command may decide. More is an import: append it by itself, in parts. */
const EVENTS_PER_COMMAND_MAX = 1_000;

/**
 * Declares a decider (Jérémie Chassaing, https://thinkbeforecoding.com/post/2021/12/17/functional-event-sourcing-decider):
 * `decide` says which events a command brings about, `evolve` what a state is after an event. It does no I/O; what runs
 * it on stored events is `aggregates`. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION.
 *
 * @example
 * const counter = decider<{ command: number; state: number; event: { type: 'counted'; data: { by: number } } }>({
 *   category: 'counter',
 *   initial: 0,
 *   decide: (by) => [{ type: 'counted', data: { by } }],
 *   evolve: (total, { data }) => total + data.by,
 *   events: { counted: {} },
 * });
 */
export function decider<Types extends DeciderTypes>(
  options: DeciderOptions<Types>,
): Decider<Types> {
  checkOptions(options, optionNames, 'decider');
  const { initial, decide, evolve, command, snapshot } = options;
  const category = checkString(options.category, 'decider.category', {
    charactersMax: 64,
    pattern: { matches: /^[A-Za-z0-9_.]+$/, says: 'letters, digits, "_" and "."' },
  });
  checkFunction(decide, 'decider.decide');
  checkFunction(evolve, 'decider.evolve');
  if (command !== undefined && !isStandardSchema(command))
    throw invalid('decider.command', 'is not a schema', 'give one that speaks Standard Schema 1');
  if (snapshot !== undefined) checkSnapshot(snapshot);
  const types = eventTypes(options.events, 'decider.events');
  return {
    category,
    initial: frozen(initial),
    decide: (given, state) => checkedEvents(decide(given, state), category),
    evolve,
    types,
    command,
    snapshot,
    fingerprint: fingerprintOf(options, types),
  };
}

/** The error by which `decide` refuses a command; `reason` is stable, for callers to match on (`details.reason`). */
export function refuse(
  reason: string,
  message: string,
  details: Readonly<Record<string, unknown>> = {},
): TallyError {
  return new TallyError('COMMAND_REFUSED', { what: message, details: { ...details, reason } });
}

/** Whether `error` is that of a refused command, for one of the given reasons if any are given. */
export function isRefusal(error: unknown, ...reasons: readonly string[]): error is TallyError {
  if (!isTallyError(error, 'COMMAND_REFUSED')) return false;
  return reasons.length === 0 || reasons.includes(String(error.details['reason']));
}

function checkedEvents<Event extends DomainEvent>(
  decided: readonly Event[],
  category: string,
): readonly Event[] {
  const wrong = (what: string): TallyError =>
    new TallyError('EVENT_INVALID', {
      what: `decide returned ${what}`,
      where: category,
      mend: 'return a list of { type, data }; it may be empty, and it is no promise',
    });
  if (!Array.isArray(decided)) throw wrong('something else than a list of events');
  if (decided.length > EVENTS_PER_COMMAND_MAX)
    throw wrong(`${decided.length} events, and one command may decide ${EVENTS_PER_COMMAND_MAX}`);
  for (const event of decided as readonly (Event | null | undefined)[])
    if (typeof event?.type !== 'string') throw wrong('an event without a type');
  return decided;
}

function fingerprintOf<Types extends DeciderTypes>(
  { initial, evolve, snapshot }: DeciderOptions<Types>,
  types: EventTypes,
): string {
  const start = snapshot === undefined ? '' : encodeValue(keptValue(snapshot, initial));
  return digestOfText(
    [snapshot?.version ?? 0, start, String(evolve), types.fingerprint].join('\0'),
  );
}

/** A state as the value that is kept of it. */
export function keptValue<State>(policy: SnapshotPolicy<State>, state: State): Value {
  return policy.encode === undefined ? (state as Value) : policy.encode(state);
}

function checkSnapshot<State>(snapshot: SnapshotPolicy<State>): void {
  checkOptions(snapshot, snapshotNames, 'decider.snapshot');
  const whole = { min: 1, max: 1_000_000, integer: true } as const;
  checkNumber(snapshot.every, 'decider.snapshot.every', whole);
  checkNumber(snapshot.version, 'decider.snapshot.version', whole);
  if ((snapshot.encode === undefined) !== (snapshot.decode === undefined))
    throw invalid(
      'decider.snapshot',
      'has only one of encode and decode',
      'give both, or neither if the state is a plain value',
    );
}

/** An `evolve` that changed the state it was given would change the start of every aggregate. */
function frozen<State>(state: State): State {
  if (typeof state !== 'object' || state === null || Object.isFrozen(state)) return state;
  const prototype: unknown = Object.getPrototypeOf(state);
  if (!Array.isArray(state) && prototype !== Object.prototype && prototype !== null) return state;
  for (const value of Object.values(state)) frozen(value);
  return Object.freeze(state);
}

function checkFunction(value: unknown, path: string): void {
  if (typeof value !== 'function') throw invalid(path, 'is not a function', 'give a pure function');
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
