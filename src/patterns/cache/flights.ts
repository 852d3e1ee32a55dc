import type { CacheSource, StaleBecause } from './events.ts';

/** An answer, and what there is to know about it. */
export interface CacheRead<Value> {
  /** `undefined`: there is no such thing. */
  readonly value: Value | undefined;
  readonly from: CacheSource;
  /** How long ago it was stored; 0 for what was loaded now. */
  readonly ageMs: number;
  /** Given if it is past its time, or older than a known change: why it is answered all the same. */
  readonly stale: StaleBecause | undefined;
}

/** What a flight came to. */
export interface Outcome<Value> extends CacheRead<Value> {
  /** The key was changed while it was loaded: the value is for those who asked before the load began. */
  readonly isVoided: boolean;
}

/**
 * Where a flight is. Who comes while it is `asking` must not join it: the tier may have answered already, and the key may
 * have been changed since. Nor while it is `storing`. Otherwise: 1. the value arrives at the tier and is stored  2. another process
 * changes the key, and that is answered  3. a reader who knows of it joins  4. `stored` comes back: it is true, of before the change.
 */
export type Phase = 'queued' | 'asking' | 'waiting' | 'loading' | 'storing';

/** The one way of one key from being asked for to being answered, shared by all who ask meanwhile. */
export class Flight<Key, Value> {
  readonly name: string;
  readonly key: Key;
  phase: Phase = 'queued';
  /** The key was changed since: what it brings is not kept as a copy. */
  isDirty = false;
  outcome: Promise<Outcome<Value>> | undefined;

  constructor(name: string, key: Key) {
    this.name = name;
    this.key = key;
  }
}

/** What a load asks of its flight, and tells it. */
export function toldOf<Key, Value>(
  flight: Flight<Key, Value>,
): { readonly isClean: () => boolean; readonly onStoring: () => void } {
  return {
    isClean: () => !flight.isDirty,
    onStoring: () => {
      flight.phase = 'storing';
    },
  };
}

/** The flights of one cache that others may join, by key. */
export class Flights<Key, Value> {
  readonly #flights = new Map<string, Flight<Key, Value>>();
  /** Those that nobody joins, since there is an answer already. */
  readonly #background = new Map<string, Set<Flight<Key, Value>>>();
  /** With copies, everybody joins: a flight that nobody finds could not be told that its key has changed. */
  readonly #joinsAsking: boolean;

  constructor(options: { readonly joinsAsking: boolean }) {
    this.#joinsAsking = options.joinsAsking;
  }

  /** One that may be joined. */
  find(name: string): Flight<Key, Value> | undefined {
    const flight = this.#flights.get(name);
    if (flight === undefined || this.#joinsAsking) return flight;
    return flight.phase === 'asking' || flight.phase === 'storing' ? undefined : flight;
  }

  add(flight: Flight<Key, Value>): void {
    this.#flights.set(flight.name, flight);
  }

  remove(flight: Flight<Key, Value>): void {
    if (this.#flights.get(flight.name) === flight) this.#flights.delete(flight.name);
  }

  /** Has a flight that nobody joins told of changes of its key while `work` runs. */
  async behind<Result>(flight: Flight<Key, Value>, work: () => Promise<Result>): Promise<Result> {
    const { name } = flight;
    const others = this.#background.get(name) ?? new Set();
    this.#background.set(name, others.add(flight));
    try {
      return await work();
    } finally {
      others.delete(flight);
      if (others.size === 0) this.#background.delete(name);
    }
  }

  /** The key was changed: who comes from now on flies anew, unless nothing was asked yet. */
  changed(name: string): void {
    for (const flight of this.#background.get(name) ?? []) flight.isDirty = true;
    const flight = this.#flights.get(name);
    if (flight === undefined) return;
    flight.isDirty = true;
    if (flight.phase !== 'queued') this.#flights.delete(name);
  }

  allChanged(): void {
    for (const name of [...this.#flights.keys(), ...this.#background.keys()]) this.changed(name);
  }
}
