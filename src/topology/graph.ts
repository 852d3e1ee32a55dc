import type { DataDeclaration, FlowDeclaration, StoreNode } from './model.ts';
import type { Topology } from './topology.ts';

/** The store that is the source of truth of some data. */
export function holderOf(topology: Topology, name: string): StoreNode | undefined {
  const data = topology.data.get(name);
  return data === undefined ? undefined : topology.storeOf(data.store ?? 'primary', data.owner);
}

/** A flow with its ends looked up. */
export interface FlowEnds {
  readonly flow: FlowDeclaration;
  readonly from: StoreNode;
  readonly to: StoreNode;
}

/** Every flow whose ends are known. */
export function flowsOf(topology: Topology): readonly FlowEnds[] {
  return (topology.declaration.flows ?? []).flatMap((flow) => {
    const from = topology.storeOf(flow.from);
    const to = topology.storeOf(flow.to);
    return from === undefined || to === undefined ? [] : [{ flow, from, to }];
  });
}

/** The ids of stores that a flow fills. */
export function filledStores(topology: Topology): ReadonlySet<string> {
  return new Set(flowsOf(topology).map(({ to }) => to.id));
}

/** What each store is the source of truth of. */
export function holdings(topology: Topology): ReadonlyMap<string, readonly DataDeclaration[]> {
  const found = new Map<string, DataDeclaration[]>();
  for (const [name, data] of topology.data) {
    const store = holderOf(topology, name);
    if (store === undefined) continue;
    const held = found.get(store.id);
    if (held === undefined) found.set(store.id, [data]);
    else held.push(data);
  }
  return found;
}

/** Services by the services that they call and wait for, each once. */
export function syncCalls(topology: Topology): ReadonlyMap<string, readonly string[]> {
  return new Map(
    [...topology.services.values()].map(({ name, calls = [] }) => [
      name,
      [...new Set(calls.filter(({ mode }) => mode !== 'async').map(({ to }) => to))],
    ]),
  );
}

/**
 * Groups of services that reach one another, by Tarjan’s algorithm (1972), without recursion: a chain of five thousand
 * services must not overflow the stack. A group of one that does not call itself is not among them.
 */
export function cyclesOf(
  edges: ReadonlyMap<string, readonly string[]>,
): readonly (readonly string[])[] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const onStack = new Set<string>();
  const stack: string[] = [];
  const found: (readonly string[])[] = [];
  for (const root of edges.keys()) {
    if (index.has(root)) continue;
    const work: { readonly node: string; next: number }[] = [];
    enter(root);
    while (work.length > 0) visit(work.at(-1) ?? { node: root, next: 0 });
    function enter(node: string): void {
      index.set(node, index.size);
      low.set(node, index.get(node) ?? 0);
      stack.push(node);
      onStack.add(node);
      work.push({ node, next: 0 });
    }
    function visit(frame: { readonly node: string; next: number }): void {
      const targets = edges.get(frame.node) ?? [];
      const target = targets[frame.next];
      frame.next += 1;
      if (target !== undefined) {
        if (!index.has(target)) enter(target);
        else if (onStack.has(target)) lower(frame.node, index.get(target));
        return;
      }
      work.pop();
      const parent = work.at(-1);
      if (parent !== undefined) lower(parent.node, low.get(frame.node));
      if (low.get(frame.node) === index.get(frame.node)) close(frame.node);
    }
  }
  return found;

  function lower(node: string, to: number | undefined): void {
    low.set(node, Math.min(low.get(node) ?? 0, to ?? 0));
  }

  function close(root: string): void {
    const group = stack.splice(stack.lastIndexOf(root));
    for (const node of group) onStack.delete(node);
    if (group.length > 1 || edges.get(root)?.includes(root) === true) found.push(group);
  }
}
