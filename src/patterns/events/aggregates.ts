import { isTallyError, must, TallyError } from '../../core/errors.ts';
import { noEvidence, type Evidence } from '../../core/evidence.ts';
import { checkNumber, checkOptions } from '../../core/options.ts';
import type { Row, Value } from '../../core/row.ts';
import { checkSchema } from '../../core/standard-schema.ts';
import { point } from '../../observe/point.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import type { EventStore, NewEvent, StoredEvent } from '../../ports/events.ts';
import { retry, type Backoff } from '../../runtime/backoff.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { Turns } from '../../runtime/turns.ts';
import {
  checkSameCommand,
  COMMAND_MARK,
  commandDigest,
  commandId,
  eventId,
  markOf,
  type CommandMark,
} from './command-key.ts';
import type { Decider } from './decider.ts';
import type { DeciderTypes } from './event.ts';
import { beforeAll, evolved, replay, type Replayed, type ReplayRange } from './replay.ts';
import { dueSnapshot, stateOf, type Snapshots } from './snapshots.ts';
import { appendWithRows, type Decided, type WithRows } from './with-rows.ts';

/** Where aggregates live, and what they are run with. */
export interface AggregatesOptions<Types extends DeciderTypes = DeciderTypes, Tx = never> {
  /** The store's event store: `app.stores.bank.events`. */
  readonly events: EventStore<Tx>;
  /** Rows that are written in the transaction of the events: a read model that is never behind. Default: none. */
  readonly inline?: WithRows<Types, Tx>;
  /** Turns a position of it into evidence: `(position) => app.evidenceAt('bank', position)`. Without it there is none. */
  readonly evidenceAt?: (position: number) => Evidence | Promise<Evidence>;
  /** Where states are kept, for deciders with a snapshot policy. */
  readonly snapshots?: Snapshots;
  /** Is told when a snapshot could not be read or kept. The command is carried out all the same. */
  readonly onSnapshotError?: (error: unknown) => void;
  /** How often a command is decided anew because somebody else was faster. Default 10. */
  readonly attemptsMax?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** What may be said with a command. */
export interface HandleOptions {
  /**
   * Makes the command idempotent: the same key on the same aggregate answers what it did the first time, in whatever
   * process, and does nothing. The sender makes it, once for each thing that it wants.
   */
  readonly key?: string;
  /** The version that the sender has seen; another one is STREAM_CONFLICT, and is not tried again. */
  readonly expected?: number;
  readonly metadata?: Row;
  readonly correlationId?: string;
  /** Default: the command's own id. */
  readonly causationId?: string;
  readonly tags?: readonly string[];
  readonly signal?: AbortSignal;
}

/** What a command came to. */
export interface Handled<Types extends DeciderTypes> {
  readonly stream: string;
  /** The version of the aggregate after the command. */
  readonly version: number;
  /** What was decided; none if there was nothing to do. */
  readonly events: readonly Types['event'][];
  readonly state: Types['state'];
  /** Of these events; if there are none, of what the decision was made on. */
  readonly evidence: Evidence;
  /** Whether an earlier call with the same key had done it. */
  readonly repeated: boolean;
}

/** An aggregate as it is, or was. */
export interface Aggregate<State> {
  readonly stream: string;
  readonly state: State;
  /** 0: nothing has happened to it. */
  readonly version: number;
  /** When its last event was taken. */
  readonly atMs: number | undefined;
}

/** The aggregates of one decider in one event store. */
export interface Aggregates<Types extends DeciderTypes> {
  /** The stream of an aggregate. Throws COMMAND_INVALID for what cannot be an id. */
  streamOf(id: string): string;
  /**
   * Carries a command out: loads the aggregate, decides, appends the events if nobody was faster, decides anew otherwise.
   * Throws what `decide` throws (COMMAND_REFUSED), COMMAND_INVALID, COMMAND_KEY_REUSED, EVENT_UNKNOWN, EVENT_INVALID,
   * STREAM_CONFLICT once the attempts are used up or if `expected` is not met, and what the store throws. Nothing of a
   * command that threw was written, except after COMMIT_UNKNOWN or a lost connection: then the same call with the same
   * key finds out.
   *
   * A refusal is not kept: asked again, the command is decided on what is then there. Neither is a decision to do nothing.
   */
  handle(id: string, command: Types['command'], options?: HandleOptions): Promise<Handled<Types>>;
  /** The present state, from the newest snapshot and what came after it. */
  load(id: string, options?: { readonly signal?: AbortSignal }): Promise<Aggregate<Types['state']>>;
  /**
   * The state as of a version or a moment, from the events alone: no snapshot is asked. A version above the newest is
   * INPUT_INVALID.
   */
  rebuildState(id: string, range?: ReplayRange): Promise<Aggregate<Types['state']>>;
}

/** Ten attempts lose their race only where a stream takes hundreds of commands a second, from several processes. */
const ATTEMPTS_DEFAULT = 10;
/** A conflict is over as soon as the other has committed. */
const CONFLICT_BACKOFF: Backoff = { firstMs: 2, maxMs: 100, factor: 2 };

const optionNames = [
  'events',
  'inline',
  'evidenceAt',
  'snapshots',
  'onSnapshotError',
  'attemptsMax',
  'clock',
  'random',
] as const;
const handleNames = [
  'key',
  'expected',
  'metadata',
  'correlationId',
  'causationId',
  'tags',
  'signal',
] as const;

/** Characters of an aggregate's id; with the category it is the name of a stream, which may have 500. */
const AGGREGATE_ID_CHARACTERS_MAX = 400;

/**
 * Runs a decider on the events of a store. Reads are streamed in pages; commands on one aggregate take turns in a process,
 * and are decided anew where another process was faster.
 */
export function aggregates<Types extends DeciderTypes, Tx = never>(
  decider: Decider<Types>,
  options: AggregatesOptions<Types, Tx>,
): Aggregates<Types> {
  checkOptions(options, optionNames, 'aggregates');
  if (options.attemptsMax !== undefined)
    checkNumber(options.attemptsMax, 'aggregates.attemptsMax', {
      min: 1,
      max: 1_000,
      integer: true,
    });
  return new StoredAggregates(decider, options);
}

/** A loaded aggregate, with what loading it has found besides. */
interface Loaded<State> extends Replayed<State> {
  /** The version of the snapshot it began with; 0: none. */
  readonly keptVersion: number;
  /** The first event of the command that is looked for, if it is in what was read. */
  readonly found: StoredEvent | undefined;
}

/** One command on its way. */
interface Work<Types extends DeciderTypes> {
  readonly stream: string;
  readonly command: Types['command'];
  readonly id: string;
  readonly digest: string | undefined;
  readonly options: HandleOptions;
}

class StoredAggregates<Types extends DeciderTypes, Tx> implements Aggregates<Types> {
  readonly #decider: Decider<Types>;
  readonly #options: AggregatesOptions<Types, Tx>;
  readonly #turns = new Turns();

  constructor(decider: Decider<Types>, options: AggregatesOptions<Types, Tx>) {
    this.#decider = decider;
    this.#options = options;
  }

  streamOf(id: string): string {
    if (typeof id !== 'string' || id.length === 0 || id.length > AGGREGATE_ID_CHARACTERS_MAX)
      throw new TallyError('COMMAND_INVALID', {
        what: `${typeof id === 'string' ? `a text of ${id.length} characters` : typeof id} cannot be the id of an aggregate`,
        where: this.#decider.category,
        mend: `give a text of 1 to ${AGGREGATE_ID_CHARACTERS_MAX} characters`,
      });
    return `${this.#decider.category}-${id}`;
  }

  async handle(
    id: string,
    given: Types['command'],
    options: HandleOptions = {},
  ): Promise<Handled<Types>> {
    checkOptions(options, handleNames, 'handle');
    if (options.metadata !== undefined && Object.hasOwn(options.metadata, COMMAND_MARK))
      throw new TallyError('CONFIG_INVALID', {
        what: `the metadata has a member ${COMMAND_MARK}, which is kept for the command's own mark`,
        where: 'handle.metadata',
        mend: 'give it another name',
      });
    const { random = systemRandom, clock = systemClock } = this.#options;
    const stream = this.streamOf(id);
    const work: Work<Types> = {
      stream,
      command: await this.#checked(given, stream),
      id: options.key === undefined ? `command-${random.id()}` : commandId(stream, options.key),
      digest: options.key === undefined ? undefined : commandDigest(given, stream),
      options,
    };
    const { signal } = options;
    return this.#turns.take(stream, () =>
      retry((attempt) => this.#attempt(work, attempt), {
        attemptsMax: this.#options.attemptsMax ?? ATTEMPTS_DEFAULT,
        backoff: CONFLICT_BACKOFF,
        clock,
        random,
        ...(signal === undefined ? {} : { signal }),
        // After COMMIT_UNKNOWN the events are there or are not, and an id that is taken is one of this command, carried
        // out by another process at the same time: the next look finds it.
        retryIf: (error) =>
          isTallyError(error, 'COMMIT_UNKNOWN', 'EVENT_ID_REUSED') ||
          (isTallyError(error, 'STREAM_CONFLICT') && options.expected === undefined),
      }),
    );
  }

  async load(
    id: string,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Aggregate<Types['state']>> {
    checkOptions(options, ['signal'], 'load');
    const stream = this.streamOf(id);
    const loaded = await this.#load(stream, undefined, options.signal);
    await this.#keep(stream, loaded, loaded.keptVersion);
    return aggregateOf(stream, loaded);
  }

  async rebuildState(id: string, range: ReplayRange = {}): Promise<Aggregate<Types['state']>> {
    checkOptions(range, ['toVersion', 'toMs', 'signal'], 'rebuildState');
    const { toVersion, toMs } = range;
    if (toVersion !== undefined)
      checkNumber(toVersion, 'rebuildState.toVersion', { min: 0, integer: true });
    if (toMs !== undefined) checkNumber(toMs, 'rebuildState.toMs');
    const stream = this.streamOf(id);
    const replayed = await replay(this.#decider, this.#options.events, stream, range);
    if (toVersion !== undefined && toMs === undefined && replayed.version < toVersion)
      throw new TallyError('INPUT_INVALID', {
        what: `there is no version ${toVersion}: the newest is ${replayed.version}`,
        where: stream,
        mend: 'ask for a version that has been',
      });
    return aggregateOf(stream, replayed);
  }

  async #checked(command: Types['command'], stream: string): Promise<Types['command']> {
    const schema = this.#decider.command;
    if (schema === undefined) return command;
    return checkSchema(schema, command, () => ({
      code: 'COMMAND_INVALID',
      what: 'the command',
      where: stream,
      mend: 'send what the schema allows',
    }));
  }

  async #attempt(work: Work<Types>, attempt: number): Promise<Handled<Types>> {
    const { stream, command, options } = work;
    const loaded = await this.#load(stream, eventId(work.id, 0), options.signal);
    const done = loaded.found ?? (await this.#earlier(work, loaded, attempt));
    if (done !== undefined) return this.#recorded(work, done);
    if (options.expected !== undefined && options.expected !== loaded.version)
      throw conflict(stream, options.expected, loaded.version);
    const events = this.#decider.decide(command, loaded.state);
    let { state } = loaded;
    for (const [index, event] of events.entries()) {
      await this.#decider.types.check(event, stream);
      state = evolved(this.#decider, state, event, { stream, version: loaded.version + index + 1 });
    }
    if (events.length === 0)
      return {
        ...outcome<Types>(stream, loaded.version, events, state, false),
        evidence: await this.#evidenceAt(loaded.last?.position),
      };
    point('command.before-append');
    const written = this.#written(work, events);
    const version = loaded.version + events.length;
    const appended = await this.#append({ stream, command, events, state, version }, written);
    point('command.after-append-before-answer');
    // The store had these ids: the same command came through elsewhere between the look and the append.
    if (appended.repeated) {
      const first = await this.#options.events.find(eventId(work.id, 0));
      return this.#recorded(work, must(first, `the first event of ${work.id}`));
    }
    const last = { id: eventId(work.id, events.length - 1), position: 0, atMs: 0 };
    await this.#keep(stream, { state, version: appended.version, last }, loaded.keptVersion);
    return {
      ...outcome<Types>(stream, appended.version, events, state, false),
      evidence: await appended.evidence(),
    };
  }

  /** Appends what was decided, by itself or with the application's rows. */
  async #append(
    decided: Decided<Types>,
    written: readonly NewEvent[],
  ): Promise<{
    readonly version: number;
    readonly repeated: boolean;
    readonly evidence: () => Promise<Evidence>;
  }> {
    const { events, inline } = this.#options;
    if (inline !== undefined) {
      const done = await appendWithRows(events, inline, decided, written);
      return { ...done, evidence: async () => done.evidence };
    }
    const expected = decided.version - written.length;
    const done = await events.append(decided.stream, written, { expected });
    return { ...done, evidence: () => this.#evidenceAt(done.position) };
  }

  /** What came before a snapshot was not read: a command with a key, or an earlier attempt, may be in it. */
  async #earlier(
    { options, id }: Work<Types>,
    { keptVersion }: Loaded<Types['state']>,
    attempt: number,
  ): Promise<StoredEvent | undefined> {
    if (keptVersion === 0 || (options.key === undefined && attempt === 1)) return undefined;
    return this.#options.events.find(eventId(id, 0));
  }

  /** The answer of a command that was carried out before: the state is that of then. */
  async #recorded(work: Work<Types>, first: StoredEvent): Promise<Handled<Types>> {
    const { stream, digest, options } = work;
    const mark = markOf(first);
    checkSameCommand(mark, digest, stream);
    const version = first.version + (mark?.events ?? 1) - 1;
    const own: StoredEvent[] = [];
    const { state, last } = await replay(this.#decider, this.#options.events, stream, {
      toVersion: version,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      watch: (stored) => {
        if (stored.version >= first.version) own.push(stored);
      },
    });
    const events: Types['event'][] = [];
    for (const stored of own) events.push(await this.#decider.types.read(stored));
    return {
      ...outcome<Types>(stream, version, events, state, true),
      evidence: await this.#evidenceAt(last?.position),
    };
  }

  #written(
    { id, digest, options }: Work<Types>,
    events: readonly Types['event'][],
  ): readonly NewEvent[] {
    const { key, metadata, correlationId, causationId = id, tags } = options;
    const mark: CommandMark = {
      events: events.length,
      ...(key === undefined || digest === undefined ? {} : { key, digest }),
    };
    return events.map((event, index) => ({
      id: eventId(id, index),
      type: event.type,
      schemaVersion: this.#decider.types.versionOf(event.type),
      data: event.data as Value,
      metadata: { ...metadata, [COMMAND_MARK]: { ...mark } },
      causationId,
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(tags === undefined ? {} : { tags }),
    }));
  }

  async #load(
    stream: string,
    wanted: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Loaded<Types['state']>> {
    let found: StoredEvent | undefined;
    const from = await this.#kept(stream, signal);
    const loaded = await replay(this.#decider, this.#options.events, stream, {
      from,
      ...(signal === undefined ? {} : { signal }),
      ...(wanted === undefined
        ? {}
        : {
            watch: (stored: StoredEvent) => {
              if (stored.id === wanted) found = stored;
            },
          }),
    });
    return { ...loaded, keptVersion: from.version, found };
  }

  /**
   * Where to begin: the newest snapshot, if its last event is still the one in the store. A store that was put back to an
   * earlier day has another event there, or none; its snapshot would hold what never happened.
   */
  async #kept(stream: string, signal: AbortSignal | undefined): Promise<Replayed<Types['state']>> {
    const start = beforeAll<Types['state']>(this.#decider.initial);
    const { snapshots, events } = this.#options;
    if (snapshots === undefined || this.#decider.snapshot === undefined) return start;
    const snapshot = await this.#ifPossible(() => snapshots.load(stream));
    if (snapshot === undefined) return start;
    const kept = await this.#ifPossible(async () => stateOf(this.#decider, snapshot));
    if (kept === undefined) return start;
    const { version } = snapshot;
    const range = { from: version, to: version, ...(signal === undefined ? {} : { signal }) };
    for await (const page of events.readStream(stream, range)) {
      const last = page.find(({ id }) => id === snapshot.eventId);
      if (last !== undefined) return { state: kept.state, version, last };
    }
    return start;
  }

  async #keep(stream: string, now: Replayed<Types['state']>, keptVersion: number): Promise<void> {
    const { snapshots } = this.#options;
    if (snapshots === undefined) return;
    await this.#ifPossible(async () => {
      const snapshot = dueSnapshot(this.#decider, now, keptVersion);
      if (snapshot !== undefined) await snapshots.save(stream, snapshot);
    });
  }

  /** A command that is durable, or can be decided without it, does not fail for a copy of its state. */
  async #ifPossible<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#options.onSnapshotError?.(error);
      return undefined;
    }
  }

  async #evidenceAt(position: number | undefined): Promise<Evidence> {
    const { evidenceAt } = this.#options;
    if (position === undefined || evidenceAt === undefined) return noEvidence;
    return evidenceAt(position);
  }
}

function outcome<Types extends DeciderTypes>(
  stream: string,
  version: number,
  events: readonly Types['event'][],
  state: Types['state'],
  repeated: boolean,
): Omit<Handled<Types>, 'evidence'> {
  return { stream, version, events, state, repeated };
}

function aggregateOf<State>(stream: string, replayed: Replayed<State>): Aggregate<State> {
  const { state, version, last } = replayed;
  return { stream, state, version, atMs: last?.atMs };
}

function conflict(stream: string, expected: number, actual: number): TallyError {
  return new TallyError('STREAM_CONFLICT', {
    what: `the aggregate is at version ${actual}, and the command was sent for version ${expected}`,
    where: stream,
    mend: 'load it, look at what has changed, and send the command for the version that is there',
    details: { stream, expected, actual },
  });
}
