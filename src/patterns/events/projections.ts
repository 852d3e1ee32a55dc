import { TallyError } from '../../core/errors.ts';
import type { Row, Value } from '../../core/row.ts';
import type { Fold, FoldState, Projected, RowProjection } from '../../flow/definition.ts';
import { keptValue, type Decider } from './decider.ts';
import type { DeciderTypes, DomainEvent } from './event.ts';
import { evolved } from './replay.ts';

/** Where an event stands, for a projection. */
export interface EventPlace {
  /** The aggregate's id: the stream without its category. */
  readonly id: string;
  readonly stream: string;
  readonly version: number;
  readonly position: number;
  readonly atMs: number;
  readonly eventId: string;
  readonly correlationId: string | undefined;
  readonly metadata: Row;
}

/** What a projection makes of the events of each type; those that are left out are passed over. */
export type ByType<Types extends DeciderTypes, Result> = {
  readonly [Type in Types['event']['type']]?: (
    event: Extract<Types['event'], { readonly type: Type }>,
    at: EventPlace,
  ) => Result;
};

/**
 * A row projection of a flow from the table `events`: what each event of a decider becomes, brought up to the types of
 * today. Events of other categories are passed over. An event that cannot be read (EVENT_UNKNOWN, EVENT_INVALID) is
 * parked, with what follows of its row, like any change that a projection throws for; a projection needs a schema that
 * answers at once.
 *
 * @example
 * flow({ from: 'bank', tables: ['events'], to: 'search', into: 'names',
 *   project: projectEvents(account, {
 *     opened: ({ data }, { id }) => put('names', [id], { owner: data.owner }),
 *     closed: (_event, { id }) => remove('names', [id]),
 *   }) });
 */
export function projectEvents<Types extends DeciderTypes>(
  decider: Decider<Types>,
  by: ByType<Types, Projected>,
): RowProjection {
  const project = by as Readonly<
    Record<string, ((event: DomainEvent, at: EventPlace) => Projected) | undefined>
  >;
  return (row) => {
    const found = eventIn(decider, row);
    return found === undefined ? undefined : project[found.event.type]?.(found.event, found.at);
  };
}

/**
 * A folded projection of a flow from the table `events`: rows that are made of the state of an aggregate, folded by the
 * decider's own `evolve` after each of its events. The state is kept with the flow's checkpoint, so it has to be a value,
 * or the decider's snapshot policy says how it becomes one. While an event of an aggregate is parked, those that follow are
 * parked behind it: a state is never made without one of its events. After `evolve` has changed, rebuild the flow.
 */
export function projectState<Types extends DeciderTypes>(
  decider: Decider<Types>,
  project: (state: Types['state'], at: EventPlace) => Projected,
): Fold {
  const { snapshot } = decider;
  return {
    reads: ({ after }) => (isOf(decider, after) ? [textIn(after, 'stream')] : []),
    apply: async ({ after }, state) => {
      const found = after === null ? undefined : eventIn(decider, after);
      if (found === undefined) return undefined;
      const { stream, version } = found.at;
      const kept = (await state.get(stream)) as KeptState | undefined;
      const known = kept?.version ?? 0;
      // Each event is a row of its own, so those that follow a parked one of their stream are not held back by it. Folded
      // in without it they would make a state that never was; so they are parked behind it, and retried in order.
      if (version !== known + 1) throw outOfTurn(stream, version, known);
      const before =
        kept === undefined
          ? decider.initial
          : snapshot?.decode === undefined
            ? kept.state
            : snapshot.decode(kept.state);
      const now = evolved(decider, before, found.event, found.at);
      const value = snapshot === undefined ? (now as Value) : keptValue(snapshot, now);
      state.set(stream, { version, state: value } satisfies KeptState);
      return project(now, found.at);
    },
  };
}

/** The state of an aggregate as a fold keeps it, and which event was the last in it. */
type KeptState = { readonly version: number; readonly state: Value };

/** A folded projection of a flow from the table `events`, with a state of its own: sums and joins over many aggregates. */
export function foldEvents<Types extends DeciderTypes>(
  decider: Decider<Types>,
  options: {
    /** The names of the states that an event will read, if they are known beforehand. */
    readonly reads?: (event: Types['event'], at: EventPlace) => readonly string[];
    readonly apply: (
      event: Types['event'],
      at: EventPlace,
      state: FoldState,
    ) => Projected | Promise<Projected>;
  },
): Fold {
  const { reads, apply } = options;
  return {
    ...(reads === undefined
      ? {}
      : {
          reads: ({ after }) => {
            const found = after === null ? undefined : eventIn(decider, after);
            return found === undefined ? [] : reads(found.event, found.at);
          },
        }),
    apply: async ({ after }, state) => {
      const found = after === null ? undefined : eventIn(decider, after);
      return found === undefined ? undefined : apply(found.event, found.at, state);
    },
  };
}

function eventIn<Types extends DeciderTypes>(
  decider: Decider<Types>,
  row: Row,
): { readonly event: Types['event']; readonly at: EventPlace } | undefined {
  if (!isOf(decider, row)) return undefined;
  const stream = textIn(row, 'stream');
  const version = Number(row['version']);
  const type = textIn(row, 'type');
  const event = decider.types.read({
    type,
    schemaVersion: Number(row['schemaVersion']),
    data: row['data'],
    stream,
    version,
  });
  if (event instanceof Promise) throw notAtOnce(type, event);
  const correlationId = row['correlationId'];
  return {
    event,
    at: {
      id: stream.slice(decider.category.length + 1),
      stream,
      version,
      position: Number(row['position']),
      atMs: Number(row['atMs']),
      eventId: textIn(row, 'id'),
      correlationId: typeof correlationId === 'string' ? correlationId : undefined,
      metadata: (row['metadata'] ?? {}) as Row,
    },
  };
}

function textIn(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  throw new TallyError('PROJECTION_INVALID', {
    what: `the row has no text in ${column}: it is not one of a table of events`,
    mend: "let the flow read the table events of a store with capture: 'events'",
    details: { column },
  });
}

function isOf({ category }: Pick<Decider, 'category'>, row: Row | null): row is Row {
  const stream = row?.['stream'];
  return typeof stream === 'string' && stream.startsWith(`${category}-`);
}

function outOfTurn(stream: string, version: number, known: number): TallyError {
  return new TallyError('PROJECTION_INVALID', {
    what: `event ${version} of ${stream} has to wait: the last one in the state is ${known}`,
    mend: 'see why the one before it was parked, correct that, and retry all that is parked; or rebuild the flow',
    details: { stream, version, known },
  });
}

function notAtOnce(type: string, answer: Promise<unknown>): TallyError {
  // Nobody waits for it: what it comes to is of no interest any more.
  answer.catch(() => undefined);
  return new TallyError('PROJECTION_INVALID', {
    what: `the schema of ${type} answers later, and a projection cannot wait for it`,
    mend: 'give the event a schema that answers at once',
    details: { type },
  });
}
