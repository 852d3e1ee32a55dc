import type { Hit, Rule } from '../finding.ts';
import { cyclesOf, syncCalls } from '../graph.ts';
import type { Topology } from '../topology.ts';

/** Services in a row that one request may wait for; a fourth at 99.9 % makes it 0.4 % of requests that fail. */
const CHAIN_SERVICES_MAX = 3;
/** What is assumed of a service that does not say how available it is. */
const AVAILABILITY_ASSUMED = 0.999;

/** A request that waits for a row of services. */
export const syncChain: Rule = {
  id: 'sync-chain',
  severity: 'warning',
  about: `A request waits for more than ${CHAIN_SERVICES_MAX} services in a row.`,
  remedy:
    'carry the data that the far services are asked for into the caller’s store, or answer first and do the rest by events',
  cost: 'availabilities multiply and latencies add up; the first service is down whenever any of them is',
  *find(topology): Iterable<Hit> {
    const edges = syncCalls(topology);
    const called = new Set([...edges.values()].flat());
    const longest = new Chains(edges);
    for (const { name, path } of topology.services.values()) {
      if (called.has(name)) continue;
      const chain = longest.from(name);
      if (chain.length <= CHAIN_SERVICES_MAX) continue;
      yield {
        subject: chain.join(' → '),
        path,
        why: `${chain.join(' → ')}: ${arithmetic(topology, chain)}`,
      };
    }
  },
};

/** What a chain makes of the services in it. */
function arithmetic(topology: Topology, chain: readonly string[]): string {
  const services = chain.map((name) => topology.services.get(name));
  const assumed = services.filter((service) => service?.availability === undefined).length;
  const availability = services.reduce(
    (product, service) => product * (service?.availability ?? AVAILABILITY_ASSUMED),
    1,
  );
  const silent = services.filter((service) => service?.latency === undefined).length;
  const latencyMs = services.reduce((sum, service) => sum + (service?.latency ?? 0), 0);
  const minutes = Math.round((1 - availability) * 30 * 24 * 60);
  return [
    `${(availability * 100).toFixed(2)} % available, ${minutes} minutes a month down`,
    assumed === 0
      ? ''
      : ` (${assumed} of ${chain.length} assumed at ${AVAILABILITY_ASSUMED * 100} %)`,
    `, ${latencyMs} ms`,
    silent === 0 ? '' : ` and what ${silent} of them do not say`,
  ].join('');
}

/** The longest way of calls from a service. Calls back into the way itself are cycles: another rule tells them. */
class Chains {
  readonly #edges: ReadonlyMap<string, readonly string[]>;
  readonly #known = new Map<
    string,
    { readonly length: number; readonly next: string | undefined }
  >();

  constructor(edges: ReadonlyMap<string, readonly string[]>) {
    this.#edges = edges;
  }

  from(start: string): readonly string[] {
    this.#solve(start);
    const chain: string[] = [];
    let at: string | undefined = start;
    while (at !== undefined && !chain.includes(at)) {
      chain.push(at);
      at = this.#known.get(at)?.next;
    }
    return chain;
  }

  /** Depth first with a stack of its own; what is under way counts as an end. */
  #solve(start: string): void {
    const open = new Set<string>();
    const work = [start];
    while (work.length > 0) {
      const node = work.at(-1) ?? start;
      if (this.#known.has(node)) {
        work.pop();
        continue;
      }
      const targets = this.#edges.get(node) ?? [];
      const unsolved = targets.filter((target) => !this.#known.has(target) && !open.has(target));
      if (!open.has(node) && unsolved.length > 0) {
        open.add(node);
        work.push(...unsolved.filter((target) => target !== node));
        continue;
      }
      let best: { readonly length: number; readonly next: string | undefined } = {
        length: 1,
        next: undefined,
      };
      for (const target of targets) {
        const length = (this.#known.get(target)?.length ?? 0) + 1;
        if (length > best.length) best = { length, next: target };
      }
      this.#known.set(node, best);
      open.delete(node);
      work.pop();
    }
  }
}

/** Services that wait for one another. */
export const syncCycle: Rule = {
  id: 'sync-cycle',
  severity: 'error',
  about: 'Services call one another in a circle and wait.',
  remedy: 'turn one of the calls into an event, or move what both need into one of them',
  cost: 'under load each waits for a worker of the other: both stand still, and neither can be deployed alone',
  *find(topology): Iterable<Hit> {
    for (const group of cyclesOf(syncCalls(topology))) {
      const names = group.toSorted();
      const first = topology.services.get(names[0] ?? '');
      if (first === undefined) continue;
      yield {
        subject: names.join(' ↔ '),
        path: first.path,
        why:
          names.length === 1
            ? `${names[0]} calls itself and waits`
            : `${names.join(', ')} reach one another by calls that wait`,
      };
    }
  },
};

/** A call that may wait for ever. */
export const callWithoutTimeout: Rule = {
  id: 'call-without-timeout',
  severity: 'note',
  about: 'A service waits for another without a limit.',
  remedy: 'set a timeout that is shorter than the caller’s own, and say what happens then',
  cost: 'a slow service takes the workers of all its callers with it',
  *find({ services }): Iterable<Hit> {
    for (const service of services.values())
      for (const call of service.calls ?? [])
        if (call.mode !== 'async' && call.timeout === undefined)
          yield {
            subject: `${service.name} → ${call.to}`,
            path: call.path,
            why: `${service.name} waits for ${call.to}, and nothing says for how long`,
          };
  },
};
