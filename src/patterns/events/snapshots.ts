import type { Row, Value } from '../../core/row.ts';
import type { KeyValue } from '../../ports/key-value.ts';
import { keptValue, type Decider } from './decider.ts';
import type { DeciderTypes } from './event.ts';
import type { Replayed } from './replay.ts';

/** The state of an aggregate as it is kept. */
export interface Snapshot {
  readonly state: Value;
  /** The version of the last event in it, and that event's id. */
  readonly version: number;
  readonly eventId: string;
  /** Of the decider that made it; another one leaves it aside. */
  readonly fingerprint: string;
}

/** Where snapshots are kept: one for each stream, the newest. Losing one costs a longer read, nothing else. */
export interface Snapshots {
  load(stream: string): Promise<Snapshot | undefined>;
  save(stream: string, snapshot: Snapshot): Promise<void>;
}

/** Keeps snapshots as entries of a key-value store, under `prefix` and the stream's name. */
export function keyValueSnapshots(keyValue: KeyValue, prefix = 'snapshot/'): Snapshots {
  return {
    load: async (stream) => {
      const entry = await keyValue.get(prefix + stream);
      return entry === undefined ? undefined : snapshotIn(entry.value);
    },
    save: async (stream, { state, version, eventId, fingerprint }) => {
      await keyValue.set(prefix + stream, { state, version, eventId, fingerprint });
    },
  };
}

/** What is under the key may be anything; what is no snapshot is none. */
function snapshotIn(value: Value): Snapshot | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { state, version, eventId, fingerprint } = value as Row;
  if (state === undefined || typeof version !== 'number') return undefined;
  if (typeof eventId !== 'string' || typeof fingerprint !== 'string') return undefined;
  return { state, version, eventId, fingerprint };
}

/** The state in a snapshot, if it is one of this decider: same `snapshot.version`, same `evolve`, same event types. */
export function stateOf<Types extends DeciderTypes>(
  decider: Decider<Types>,
  snapshot: Snapshot | undefined,
): { readonly state: Types['state'] } | undefined {
  if (decider.snapshot === undefined || snapshot === undefined) return undefined;
  if (snapshot.fingerprint !== decider.fingerprint) return undefined;
  const policy = decider.snapshot;
  return { state: policy.decode === undefined ? snapshot.state : policy.decode(snapshot.state) };
}

/** The snapshot of a state, if the policy asks for one: enough events have come since the last. */
export function dueSnapshot<Types extends DeciderTypes>(
  decider: Decider<Types>,
  { state, version, last }: Replayed<Types['state']>,
  keptVersion: number,
): Snapshot | undefined {
  const policy = decider.snapshot;
  if (policy === undefined || last === undefined || version - keptVersion < policy.every)
    return undefined;
  return {
    state: keptValue(policy, state),
    version,
    eventId: last.id,
    fingerprint: decider.fingerprint,
  };
}
