import type { Hit, Rule } from '../finding.ts';
import { flowsOf, holderOf } from '../graph.ts';
import type { StreamDeclaration } from '../model.ts';
import type { Topology } from '../topology.ts';

/** One story told in several places. */
export const streamsWithoutOrder: Rule = {
  id: 'streams-without-order',
  severity: 'error',
  about: 'Changes of one thing arrive in several streams, and nothing orders them.',
  remedy:
    'put all changes of a thing into one stream under its key, and let readers take them from there',
  cost: 'a reader sees "paid" before "placed", or an update after its delete, and keeps the wrong one',
  *find(topology): Iterable<Hit> {
    const streams = topology.declaration.streams ?? [];
    for (const stream of streams)
      if (stream.order === 'total' && (stream.partitions ?? 1) > 1)
        yield {
          subject: stream.name,
          path: stream.path,
          why: `${stream.name} has ${stream.partitions} partitions, and its readers need one order over all`,
        };
    for (const [data, of] of byData(streams)) {
      if (of.length < 2) continue;
      const reader = [...topology.services.keys()].find(
        (service) => of.filter(({ consumers = [] }) => consumers.includes(service)).length > 1,
      );
      const ordered = topology.data.get(data)?.invariants?.includes('order') === true;
      const last = of.at(-1);
      if ((reader === undefined && !ordered) || last === undefined) continue;
      yield {
        subject: `${data} in ${of.map(({ name }) => name).join(', ')}`,
        path: last.path,
        why: `${data} is in ${of.map(({ name }) => name).join(' and ')}${
          reader === undefined
            ? ', and its changes have an order'
            : `, and ${reader} reads them all`
        }`,
        ...(reader === undefined ? { severity: 'warning' as const } : {}),
      };
    }
  },
};

function byData(
  streams: readonly StreamDeclaration[],
): ReadonlyMap<string, readonly StreamDeclaration[]> {
  const found = new Map<string, StreamDeclaration[]>();
  for (const stream of streams) {
    if (stream.order === 'none') continue;
    for (const data of stream.data ?? []) {
      const of = found.get(data);
      if (of === undefined) found.set(data, [stream]);
      else of.push(stream);
    }
  }
  return found;
}

/** Messages that are spread without a reason. */
export const unkeyedTopic: Rule = {
  id: 'unkeyed-topic',
  severity: 'warning',
  about: 'A stream of several partitions has no key.',
  remedy: 'key messages by the thing that they change; if order does not matter, say order: none',
  cost: 'two changes of one thing overtake each other as soon as there are two partitions or two consumers',
  *find(topology): Iterable<Hit> {
    for (const stream of topology.declaration.streams ?? []) {
      const { key, order, partitions } = stream;
      if (key !== undefined || order === 'none' || partitions === 1) continue;
      if (topology.storeOf(stream.store)?.family !== 'log' && order === undefined) continue;
      yield {
        subject: stream.name,
        path: stream.path,
        why: `${stream.name} has ${partitions ?? 'an unsaid number of'} partitions and no key`,
        ...(partitions === undefined ? {} : { severity: 'error' as const }),
      };
    }
  },
};

/** A queue that is asked what is in it. */
export const queueAsDatabase: Rule = {
  id: 'queue-as-database',
  severity: 'error',
  about: 'A queue or log is the source of truth, or is queried.',
  remedy:
    'write the facts to a store that can be asked, and let the queue carry what has to be done',
  cost: 'what was consumed or expired is gone; nothing can be looked up, corrected or restored',
  *find(topology): Iterable<Hit> {
    for (const [name, data] of topology.data) {
      const store = holderOf(topology, name);
      if (store === undefined || (store.family !== 'queue' && store.family !== 'log')) continue;
      const kept = store.family === 'log' && store.declaration.retention === undefined;
      // A log that keeps events for ever is an event store.
      if (kept && data.kind === 'events') continue;
      yield {
        subject: name,
        path: data.path,
        why: `${name} lives in ${store.id} (${store.title})`,
      };
    }
    for (const service of topology.services.values())
      for (const query of service.queries ?? []) {
        const store =
          query.from === undefined ? undefined : topology.storeOf(query.from, service.name);
        if (store?.family !== 'queue' && store?.family !== 'log') continue;
        yield {
          subject: `${service.name}.${query.name}`,
          path: query.path,
          why: `${query.name} asks ${store.id} (${store.title}), which can only be read through`,
        };
      }
  },
};

/** A log that forgets before it can be read again. */
export const shortRetention: Rule = {
  id: 'short-retention',
  severity: 'error',
  about: 'A store takes longer to fill again than its source keeps what fills it.',
  remedy: 'keep the stream for longer than the rebuild, or rebuild from a snapshot of the owner',
  cost: 'the first rebuild that is needed never ends: its oldest part is deleted while it runs',
  *find(topology): Iterable<Hit> {
    for (const { flow, from, to } of flowsOf(topology)) {
      const { rebuild } = to.declaration;
      const kept = retention(topology, from.id, flow.data) ?? from.declaration.retention;
      if (rebuild === undefined || kept === undefined || kept >= rebuild) continue;
      yield {
        subject: `${from.id} → ${to.id}`,
        path: flow.path,
        why: `${to.id} takes ${days(rebuild)} to fill again, and ${from.id} keeps ${days(kept)}`,
      };
    }
  },
};

/** The shortest retention of the streams in a store that carry some of the data. */
function retention(
  topology: Topology,
  store: string,
  data: readonly string[] | undefined,
): number | undefined {
  const kept = (topology.declaration.streams ?? [])
    .filter((stream) => topology.storeOf(stream.store)?.id === store)
    .filter((stream) => data === undefined || stream.data?.some((name) => data.includes(name)))
    .flatMap((stream) => (stream.retention === undefined ? [] : [stream.retention]));
  return kept.length === 0 ? undefined : Math.min(...kept);
}

function days(ms: number): string {
  const hours = ms / 3_600_000;
  return hours < 48
    ? `${Math.round(hours * 10) / 10} hours`
    : `${Math.round(hours / 2.4) / 10} days`;
}
