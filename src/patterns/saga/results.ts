import { unreachable } from '../../core/errors.ts';
import type { SagaNode } from './definition.ts';
import type { Place } from './plan.ts';
import type { SagaState } from './state.ts';

type Results = Record<string, unknown>;

/** What the steps before a place returned, those around it included. */
export function resultsBefore(place: Place, state: SagaState): Results {
  const results = place.outer === undefined ? {} : resultsBefore(place.outer, state);
  return collect(place.nodes.slice(0, place.at), place.base, state, results);
}

/** What all steps returned. */
export function resultsOf(nodes: readonly SagaNode[], state: SagaState): Results {
  return collect(nodes, '', state, {});
}

function collect(
  nodes: readonly SagaNode[],
  base: string,
  state: SagaState,
  results: Results,
): Results {
  for (const node of nodes) {
    if (node.kind === 'sleep') continue;
    results[node.name] = resultOf(node, base + node.name, state);
  }
  return results;
}

function resultOf(
  node: Exclude<SagaNode, { kind: 'sleep' }>,
  path: string,
  state: SagaState,
): unknown {
  switch (node.kind) {
    case 'step':
    case 'signal':
    case 'child':
      return state.steps.get(path)?.result;
    case 'parallel':
      return Object.fromEntries(
        Object.entries(node.branches).map(([branch, nodes]) => [
          branch,
          collect(nodes, `${path}/${branch}/`, state, {}),
        ]),
      );
    case 'choice': {
      const branch = state.choices.get(path);
      if (branch === undefined) return {};
      return { [branch]: collect(node.branches[branch] ?? [], `${path}/${branch}/`, state, {}) };
    }
    case 'loop':
      return (state.loops.get(path) ?? []).map((_, index) =>
        collect(node.body, `${path}/${index}/`, state, {}),
      );
    default:
      return unreachable(node);
  }
}
