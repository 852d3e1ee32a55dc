import type { LogEntry } from './query-log.ts';

/** Something in a request's log that should not be there. */
export type Finding =
  | {
      /** The same query over and over, from one place. */
      readonly kind: 'n-plus-one';
      readonly store: string;
      readonly fingerprint: string;
      readonly count: number;
      /** `serial`: each waited for the one before, which costs their sum. */
      readonly order: 'serial' | 'parallel';
      /** From the first's begin to the last's end. */
      readonly tookMs: number;
      /** `file:line:column` of the loop's query; undefined if call sites were not kept. */
      readonly at: string | undefined;
    }
  | {
      /** Queries that each waited for the one before. */
      readonly kind: 'chain';
      readonly count: number;
      readonly tookMs: number;
      readonly fingerprints: readonly string[];
      readonly at: string | undefined;
    };

export interface FindingLimits {
  /** The same query from the same place so often is an N+1. */
  readonly nPlusOneMin: number;
  /** So many, one after another, are a chain. */
  readonly chainMin: number;
}

/** Fingerprints of a chain that are named. */
const NAMED_MAX = 5;

/** What the entries of one request say. Those that are covered by others do not count. */
export function findingsIn(entries: readonly LogEntry[], limits: FindingLimits): Finding[] {
  const counted = entries.filter(({ covered }) => !covered);
  const repeated = [...groupsOf(counted, ({ store, fingerprint }) => `${store}\n${fingerprint}`)]
    .filter((group) => group.length >= limits.nPlusOneMin)
    // The text of a stack is made here, and so for few.
    .flatMap((group) => [...groupsOf(group, ({ site }) => site?.at ?? '')])
    .filter((group) => group.length >= limits.nPlusOneMin)
    .map((group) => nPlusOne(group));
  const chain = longestChain(counted);
  // A loop of the same query is a chain as well, and is told once.
  const inLoop = Math.max(0, ...repeated.map(({ count }) => count));
  return chain.length >= limits.chainMin && chain.length > inLoop + 1
    ? [...repeated, chained(chain)]
    : repeated;
}

/** A finding in words, with what mends it. */
export function findingText(finding: Finding): string {
  const where = finding.at === undefined ? '' : ` at ${finding.at}`;
  const took = `${Math.round(finding.tookMs * 10) / 10} ms`;
  if (finding.kind === 'chain')
    return `${finding.count} queries in one request each waited for the one before (${took})${where}: ${finding.fingerprints.join(' → ')}. To mend it: start what does not need the other's answer beside it, with gather(…).`;
  const { count, store, fingerprint, order } = finding;
  return `${count} times the same query to ${store} in one request, ${order} (${took})${where}: ${fingerprint}. To mend it: load the keys with loader(…).loadMany, or join them in the store.`;
}

function nPlusOne(group: readonly LogEntry[]): Extract<Finding, { kind: 'n-plus-one' }> {
  const [first] = group;
  return {
    kind: 'n-plus-one',
    store: first?.store ?? '',
    fingerprint: first?.fingerprint ?? '',
    count: group.length,
    order: longestChain(group).length === group.length ? 'serial' : 'parallel',
    tookMs: tookMs(group),
    at: first?.site?.at,
  };
}

function chained(chain: readonly LogEntry[]): Finding {
  return {
    kind: 'chain',
    count: chain.length,
    tookMs: tookMs(chain),
    fingerprints: [...new Set(chain.map(({ fingerprint }) => fingerprint))].slice(0, NAMED_MAX),
    at: chain[0]?.site?.at,
  };
}

/** The most queries of which none began before another had ended: always the one that ends next. */
function longestChain(entries: readonly LogEntry[]): readonly LogEntry[] {
  const ended = entries
    .filter(({ endedMs }) => endedMs !== undefined)
    .toSorted((left, right) => (left.endedMs ?? 0) - (right.endedMs ?? 0));
  const chain: LogEntry[] = [];
  let freeMs = -Infinity;
  for (const entry of ended) {
    if (entry.startedMs < freeMs) continue;
    chain.push(entry);
    freeMs = entry.endedMs ?? freeMs;
  }
  return chain;
}

function tookMs(entries: readonly LogEntry[]): number {
  const started = Math.min(...entries.map(({ startedMs }) => startedMs));
  return Math.max(...entries.map(({ startedMs, endedMs }) => endedMs ?? startedMs)) - started;
}

function groupsOf(
  entries: readonly LogEntry[],
  keyOf: (entry: LogEntry) => string,
): Iterable<readonly LogEntry[]> {
  const groups = new Map<string, LogEntry[]>();
  for (const entry of entries) {
    const key = keyOf(entry);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  return groups.values();
}
