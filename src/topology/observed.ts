import { findSystem } from '../advisor/catalogue.ts';
import type { Finding, RuleText } from './finding.ts';
import { findingOf } from './lint.ts';
import type { Operation, Observations } from './observed/operation.ts';
import { sightings, type Sighting } from './observed/patterns.ts';
import { readQueryLog } from './observed/query-log.ts';
import { readSpans } from './observed/spans.ts';
import type { Topology } from './topology.ts';

/** A recording and where it came from. */
export interface Recording {
  readonly text: string;
  readonly file: string;
}

/** What was recorded, compared with what is declared. */
export interface Observed {
  readonly findings: readonly Finding[];
  /** What a reader should know of the recording: an empty one proves nothing. */
  readonly notes: readonly string[];
}

const undeclaredEdge: RuleText = {
  id: 'undeclared-edge',
  severity: 'warning',
  about: 'Something was asked that the topology does not declare.',
  remedy: 'declare the call or the store, or stop using it',
  cost: 'every other answer of this check is about an architecture that is not the one that runs',
};

/**
 * Compares recorded spans and queries with a topology: repeated questions, calls in a row that could run together,
 * boundaries that are crossed too often, edges that nobody declared. The order of the recording does not matter, and what
 * is recorded twice counts once. What was not recorded cannot be found.
 */
export function observe(
  topology: Topology,
  recordings: { readonly spans?: Recording; readonly queryLog?: Recording },
): Observed {
  const { spans, queryLog } = recordings;
  const read = [
    ...(spans === undefined ? [] : [{ ...readSpans(spans.text, spans.file), file: spans.file }]),
    ...(queryLog === undefined
      ? []
      : [{ ...readQueryLog(queryLog.text, queryLog.file), file: queryLog.file }]),
  ];
  const notes = read.map(
    ({ file, spans: count, operations }) =>
      `${file}: ${count} spans, ${operations.length} questions to stores and services${
        operations.length === 0 ? '; nothing can be found in that: are clients instrumented?' : ''
      }`,
  );
  return { findings: read.flatMap((one) => findingsOf(topology, one)), notes };
}

function findingsOf(topology: Topology, observations: Observations): readonly Finding[] {
  const traces = new Map<string, Operation[]>();
  for (const operation of observations.operations) {
    const trace = traces.get(operation.trace);
    if (trace === undefined) traces.set(operation.trace, [operation]);
    else trace.push(operation);
  }
  const all = [...traces.values()].flatMap((trace) => sightings(trace));
  return [...summed(topology, all), ...edges(topology, observations)];
}

/** One finding for each pattern, with the trace where it was worst. */
function summed(topology: Topology, all: readonly Sighting[]): readonly Finding[] {
  const groups = new Map<string, { worst: Sighting; traces: number }>();
  for (const sighting of all) {
    const key = `${sighting.rule.id} ${sighting.subject}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { worst: sighting, traces: 1 });
    else {
      group.traces += 1;
      if (isWorse(sighting, group.worst)) group.worst = sighting;
    }
  }
  return [...groups.values()].map(({ worst, traces }) =>
    findingOf(
      worst.rule,
      {
        subject: worst.subject,
        path: topology.services.get(worst.service)?.path ?? '',
        why: `${worst.why} (${traces} trace${traces === 1 ? '' : 's'}, such as ${worst.trace})`,
        ...(worst.error === true ? { severity: 'error' as const } : {}),
      },
      topology,
    ),
  );
}

function isWorse(one: Sighting, other: Sighting): boolean {
  return one.count > other.count || (one.count === other.count && one.trace < other.trace);
}

function edges(topology: Topology, { operations, services }: Observations): readonly Finding[] {
  const found = new Map<string, { readonly operation: Operation; count: number }>();
  for (const operation of operations) {
    const key = `${operation.service}\n${operation.target}`;
    const seen = found.get(key);
    if (seen === undefined) found.set(key, { operation, count: 1 });
    else seen.count += 1;
  }
  const unknown = [...services].filter((name) => !topology.services.has(name)).toSorted();
  const undeclared = [...found.values()].filter(
    ({ operation }) => topology.services.has(operation.service) && !isDeclared(topology, operation),
  );
  return [
    ...unknown.map((name) => edge(topology, name, '', `${name} was seen and is not declared`)),
    ...undeclared.map(({ operation: { service, target, kind }, count }) =>
      edge(
        topology,
        `${service} → ${target}`,
        topology.services.get(service)?.path ?? '',
        `${service} ${kind === 'call' ? 'called' : 'asked'} ${target} ${count} times, and no ${kind === 'call' ? 'call' : 'store'} of it is declared`,
      ),
    ),
  ];
}

function edge(topology: Topology, subject: string, path: string, why: string): Finding {
  return findingOf(undeclaredEdge, { subject, path, why }, topology);
}

/** Whether a service declares what it was seen to ask: by name, by role, or by the system that a span names. */
function isDeclared(topology: Topology, { service, target, kind }: Operation): boolean {
  const declaration = topology.services.get(service);
  if (kind === 'call') return declaration?.calls?.some(({ to }) => to === target) === true;
  const system = findSystem(target)?.id ?? target;
  const named = topology.storeOf(target, service);
  return [...topology.stores.values()].some(
    (store) =>
      (store === named || store.system === system) &&
      store.users.some((user) => user.service === service),
  );
}
