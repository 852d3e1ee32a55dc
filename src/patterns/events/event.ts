import type { StandardSchema } from '../../core/standard-schema.ts';

/** An event as an application means it: what happened, and its data. */
export interface DomainEvent {
  readonly type: string;
  /** What can be carried as a value: see `Value` of tallystick. */
  readonly data: unknown;
}

/** The three types that a decider is made of; written as one, `decider<Account>(…)`. */
export interface DeciderTypes {
  readonly command: unknown;
  readonly state: unknown;
  readonly event: DomainEvent;
}

/** The data of the events of one type. */
export type DataOf<Event extends DomainEvent, Type extends Event['type']> = Extract<
  Event,
  { readonly type: Type }
>['data'];

/** Turns the data of one schema version into that of the next: a pure function of stored data. */
export type Upcast = (data: never) => unknown;

/** What is known of the events of one type. */
export interface EventType<Data = unknown> {
  /** The schema version that is written now. Default 1. */
  readonly version?: number;
  /** What the data must fit, when it is decided and when it is read. It may not change the data. */
  readonly schema?: StandardSchema<Data>;
  /** From each older version to the next: `{ 1: (data) => …, 2: (data) => … }` for version 3. None may be missing. */
  readonly upcast?: Readonly<Record<number, Upcast>>;
  /** Names that these events had before. Their versions go on counting: version 2 of the old name is version 2 here. */
  readonly formerly?: readonly string[];
}
