import { must, unreachable } from '../../core/errors.ts';
import type { Value } from '../../core/row.ts';
import type {
  ChildNode,
  ChoiceNode,
  LoopNode,
  SagaNode,
  SignalNode,
  SleepNode,
  StepNode,
} from './definition.ts';
import type { SagaState, StepState } from './state.ts';

/** Where a node stands: its list, its place in it, and what it is inside of. */
export interface Place {
  readonly nodes: readonly SagaNode[];
  /** Before the names of this list: `''`, `parcels/3/`. */
  readonly base: string;
  readonly at: number;
  readonly item: Value | undefined;
  readonly index: number;
  readonly outer: Place | undefined;
}

/** Something that can be done now. */
export type Action = { readonly path: string; readonly place: Place } & (
  | { readonly kind: 'do'; readonly node: StepNode }
  | { readonly kind: 'choose'; readonly node: ChoiceNode }
  | { readonly kind: 'items'; readonly node: LoopNode }
  | { readonly kind: 'sleep'; readonly node: SleepNode }
  | { readonly kind: 'signal'; readonly node: SignalNode }
  | { readonly kind: 'child'; readonly node: ChildNode }
  | { readonly kind: 'undo'; readonly node: StepNode | ChildNode }
);

/** What comes next. */
export type Plan =
  | { readonly kind: 'act'; readonly actions: readonly Action[] }
  | { readonly kind: 'complete' }
  | { readonly kind: 'compensated' };

/**
 * What can be done next, from what is known alone: no clock, no I/O. Asked again after each change; what is under way
 * is still in it, as it is not yet known to be done.
 */
export function plan(nodes: readonly SagaNode[], state: SagaState): Plan {
  const actions: Action[] = [];
  const top = { nodes, base: '', item: undefined, index: 0, outer: undefined };
  if (state.direction === 'forward') {
    const reached = forward(top, state, actions);
    return reached ? { kind: 'complete' } : { kind: 'act', actions };
  }
  const cleared = back(top, state, actions);
  return cleared ? { kind: 'compensated' } : { kind: 'act', actions };
}

/** The steps that may have been begun by a worker that recorded nothing more: those that come next. */
export function frontier(nodes: readonly SagaNode[], state: SagaState): readonly Action[] {
  if (state.direction === 'back') return [];
  const next = plan(nodes, state);
  return next.kind === 'act' ? next.actions.filter(({ kind }) => kind === 'do') : [];
}

type List = Omit<Place, 'at'>;

/** Whether all of the list is done; if not, `out` gets what can be done. */
function forward(list: List, state: SagaState, out: Action[]): boolean {
  for (const [at, node] of list.nodes.entries()) {
    if (!forwardNode(node, { ...list, at }, state, out)) return false;
  }
  return true;
}

function forwardNode(node: SagaNode, place: Place, state: SagaState, out: Action[]): boolean {
  const path = place.base + node.name;
  switch (node.kind) {
    case 'step':
      return isDone(state.steps.get(path)) || later(out, { kind: 'do', node, path, place });
    case 'sleep':
      return isDone(state.steps.get(path)) || later(out, { kind: 'sleep', node, path, place });
    case 'signal':
      return isDone(state.steps.get(path)) || later(out, { kind: 'signal', node, path, place });
    case 'child':
      return isDone(state.steps.get(path)) || later(out, { kind: 'child', node, path, place });
    case 'choice': {
      const branch = state.choices.get(path);
      if (branch === undefined) return later(out, { kind: 'choose', node, path, place });
      return forward(inside(place, node.branches[branch] ?? [], `${path}/${branch}/`), state, out);
    }
    case 'parallel': {
      let isAllDone = true;
      for (const [branch, nodes] of Object.entries(node.branches))
        if (!forward(inside(place, nodes, `${path}/${branch}/`), state, out)) isAllDone = false;
      return isAllDone;
    }
    case 'loop':
      return forwardLoop(node, path, place, state, out);
    default:
      return unreachable(node);
  }
}

function forwardLoop(
  node: LoopNode,
  path: string,
  place: Place,
  state: SagaState,
  out: Action[],
): boolean {
  const items = state.loops.get(path);
  if (items === undefined) return later(out, { kind: 'items', node, path, place });
  let done = state.roundsDone.get(path) ?? 0;
  let underWay = 0;
  for (let index = done; index < items.length && underWay < node.concurrency; index += 1) {
    if (!forward(round(node, path, place, items, index), state, out)) underWay += 1;
    // Rounds done one after the other are not looked at again: ten thousand of them would be walked ten thousand times.
    else if (index === done) done += 1;
  }
  state.roundsDone.set(path, done);
  return done === items.length;
}

/** Whether nothing of the list is left to be undone. The last first. */
function back(list: List, state: SagaState, out: Action[]): boolean {
  for (let at = list.nodes.length - 1; at >= 0; at -= 1) {
    const node = must(list.nodes[at], 'a step of the list');
    if (!backNode(node, { ...list, at }, state, out)) return false;
  }
  return true;
}

function backNode(node: SagaNode, place: Place, state: SagaState, out: Action[]): boolean {
  const path = place.base + node.name;
  switch (node.kind) {
    case 'step':
      return (
        isClear(node, state.steps.get(path)) || later(out, { kind: 'undo', node, path, place })
      );
    case 'child': {
      const step = state.steps.get(path);
      // One that was started has to come to its end first: only then is it known what there is to undo.
      if (step?.childId !== undefined && step.outcome === 'none')
        return later(out, { kind: 'child', node, path, place });
      return isClear(node, step) || later(out, { kind: 'undo', node, path, place });
    }
    case 'sleep':
    case 'signal':
      return true;
    case 'choice': {
      const branch = state.choices.get(path);
      if (branch === undefined) return true;
      return back(inside(place, node.branches[branch] ?? [], `${path}/${branch}/`), state, out);
    }
    case 'parallel': {
      let isAllClear = true;
      for (const [branch, nodes] of Object.entries(node.branches))
        if (!back(inside(place, nodes, `${path}/${branch}/`), state, out)) isAllClear = false;
      return isAllClear;
    }
    case 'loop':
      return backLoop(node, path, place, state, out);
    default:
      return unreachable(node);
  }
}

function backLoop(
  node: LoopNode,
  path: string,
  place: Place,
  state: SagaState,
  out: Action[],
): boolean {
  const items = state.loops.get(path) ?? [];
  let left = state.roundsToUndo.get(path) ?? items.length;
  let underWay = 0;
  for (let index = left - 1; index >= 0 && underWay < node.concurrency; index -= 1) {
    if (!back(round(node, path, place, items, index), state, out)) underWay += 1;
    else if (index === left - 1) left -= 1;
  }
  state.roundsToUndo.set(path, left);
  return left === 0;
}

function isDone(step: StepState | undefined): boolean {
  return step !== undefined && (step.outcome === 'done' || step.outcome === 'skipped');
}

function isClear(node: StepNode | ChildNode, step: StepState | undefined): boolean {
  if (step === undefined || step.undone || node.class !== 'compensatable' || node.undo === 'none')
    return true;
  return step.outcome !== 'done' && step.outcome !== 'unknown';
}

function later(out: Action[], action: Action): false {
  out.push(action);
  return false;
}

function inside(place: Place, nodes: readonly SagaNode[], base: string): List {
  return { nodes, base, item: place.item, index: place.index, outer: place };
}

function round(
  node: LoopNode,
  path: string,
  place: Place,
  items: readonly Value[],
  index: number,
): List {
  return { nodes: node.body, base: `${path}/${index}/`, item: items[index], index, outer: place };
}
