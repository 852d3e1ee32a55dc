import type { Caches } from './cache.ts';
import type { Clock, Random } from './clock.ts';
import type { KeyValue } from './key-value.ts';
import type { Diagnose } from './diagnose.ts';
import type { EventStore } from './events.ts';
import type { EffectMarkers } from './effects.ts';
import type { Objects } from './objects.ts';
import type { Replica } from './replica.ts';
import type { Scan } from './scan.ts';
import type { Sink } from './sink.ts';
import type { Source } from './source.ts';
import type { Vitals } from './vitals.ts';

/** What a store is given when it is opened: its name in the application, and the runtime's seams. */
export interface StoreContext {
  /** The name the application gave the store; also the name of its lane. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** What a factory such as `sqlite({ file })` returns: how to open a store, without opening it. */
export interface StoreDefinition<Opened extends Store = Store> {
  /** The system, e.g. `sqlite`. */
  readonly system: string;
  /** Opens the store. Throws STORE_UNREACHABLE, DRIVER_MISSING or CONFIG_INVALID. */
  open(context: StoreContext): Promise<Opened>;
}

/**
 * An open connection to one storage system. A port that is absent is one the store does not offer;
 * the planner then refuses with a sentence, before anything is written.
 */
export interface Store<Client = unknown> extends AsyncDisposable {
  readonly name: string;
  readonly system: string;
  /** The official driver's own object, never hidden. */
  readonly client: Client;
  readonly source?: Source<unknown>;
  readonly sink?: Sink;
  readonly keyValue?: KeyValue;
  /** Entries that are loaded once for all processes. */
  readonly caches?: Caches;
  readonly events?: EventStore;
  readonly objects?: Objects;
  readonly scan?: Scan;
  /** Effects that happen once, with works of the store's own kind; see the store for what it takes. */
  readonly effects?: EffectMarkers;
  /** Given if this is a read replica of another store of the application. */
  readonly replica?: Replica;
  /** Says what stands in the way of what the application asks of this store. */
  readonly diagnose?: Diagnose;
  vitals(): Promise<Vitals>;
  /** Closes the store; open sessions end. Idempotent. */
  close(): Promise<void>;
}
