import { createHash } from 'node:crypto';
import { TallyError, unreachable } from '../../core/errors.ts';
import { checkDuration, checkNumber, checkOptions, checkString } from '../../core/options.ts';
import type { SagaDefinition, SagaNode, SagaOptions } from './definition.ts';

/** Nodes of one definition: a screen, and a walk at each transition. */
const NODES_MAX = 1_000;
/** Bytes of one input, result or signal, unless told otherwise. What is larger belongs into a store. */
const RESULT_BYTES_DEFAULT: number = 256 * 1024;
const RESULT_BYTES_MAX: number = 8 * 1024 * 1024;
/** Thirty days. */
const RETENTION_DEFAULT_MS: number = 30 * 24 * 3_600_000;
/** Sagas of one key that may be allowed to run at the same time. */
const CONCURRENCY_MAX = 10_000;

const optionNames = [
  'version',
  'input',
  'deadline',
  'redact',
  'resultBytesMax',
  'concurrency',
  'retention',
] as const;

/** Whether the point of no return lies before, after, or may lie behind a place in a definition. */
type Side = 'before' | 'after';

/** Refuses a name that could not be a part of a path. */
export function checkStepName(name: unknown, where: string): void {
  checkString(name, `${where}, a name`, {
    charactersMax: 64,
    pattern: {
      matches: /^[A-Za-z_][\w.-]*$/,
      says: 'a name of letters, digits, "_", "." and "-" that begins with a letter',
    },
  });
}

/** Checks a whole definition. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION. */
export function checkDefinition<Input, Results>(
  name: string,
  options: SagaOptions<Input>,
  nodes: readonly SagaNode[],
): SagaDefinition<Input, Results> {
  const where = `saga ${name}`;
  checkStepName(name, 'saga');
  checkOptions(options, optionNames, where);
  const {
    version = 1,
    resultBytesMax = RESULT_BYTES_DEFAULT,
    retention = RETENTION_DEFAULT_MS,
  } = options;
  checkNumber(version, `${where}.version`, { min: 1, max: 1_000_000, integer: true });
  checkNumber(resultBytesMax, `${where}.resultBytesMax`, { min: 1, max: RESULT_BYTES_MAX });
  if (nodes.length === 0) throw misplaced(where, 'has no steps', 'give it at least one');
  checkNames(nodes, where, { left: NODES_MAX });
  checkOrder(nodes, where, 'before');
  return {
    name,
    version,
    fingerprint: createHash('sha256').update(shapeOf(nodes)).digest('hex').slice(0, 16),
    nodes,
    checkInput: (options.input as ((input: unknown) => unknown) | undefined) ?? ((input) => input),
    deadlineMs:
      options.deadline === undefined
        ? undefined
        : checkDuration(options.deadline, `${where}.deadline`, { min: 1 }),
    redact: options.redact,
    resultBytesMax,
    concurrency: checkConcurrency(options, where),
    retentionMs: checkDuration(retention, `${where}.retention`),
  };
}

function checkConcurrency<Input>(
  { concurrency }: SagaOptions<Input>,
  where: string,
): SagaDefinition['concurrency'] {
  if (concurrency === undefined) return undefined;
  checkOptions(concurrency, ['key', 'max'], `${where}.concurrency`);
  checkNumber(concurrency.max, `${where}.concurrency.max`, {
    min: 1,
    max: CONCURRENCY_MAX,
    integer: true,
  });
  return { key: concurrency.key as (input: unknown) => string, max: concurrency.max };
}

/** Names are unique in the whole definition: a path says one thing, and so does a result. */
function checkNames(
  nodes: readonly SagaNode[],
  where: string,
  bound: { left: number },
  seen: Set<string> = new Set(),
): void {
  for (const node of nodes) {
    bound.left -= 1;
    if (bound.left < 0)
      throw misplaced(where, `has more than ${NODES_MAX} steps`, 'make a child saga of a part');
    if (seen.has(node.name))
      throw misplaced(where, `has two steps named ${node.name}`, 'give each a name of its own');
    seen.add(node.name);
    for (const part of partsOf(node)) checkNames(part, where, bound, seen);
  }
}

/** The lists of nodes inside a node. */
export function partsOf(node: SagaNode): readonly (readonly SagaNode[])[] {
  switch (node.kind) {
    case 'parallel':
    case 'choice':
      return Object.values(node.branches);
    case 'loop':
      return [node.body];
    case 'step':
    case 'sleep':
    case 'signal':
    case 'child':
      return [];
    default:
      return unreachable(node);
  }
}

/**
 * Nothing that can fail for good, or has to be undone, comes after the point of no return: a pivot, or the first
 * retriable step. Otherwise: 1. the card is charged  2. a step fails that is not tried again  3. there is no way
 * forward, and none back.
 */
function checkOrder(nodes: readonly SagaNode[], where: string, from: Side): Side {
  let side = from;
  for (const node of nodes) side = checkNode(node, where, side);
  return side;
}

function checkNode(node: SagaNode, where: string, side: Side): Side {
  const at = `${where}.${node.name}`;
  switch (node.kind) {
    case 'step':
    case 'child':
      if (side === 'after' && node.class !== 'retriable')
        throw misplaced(
          at,
          `is a ${node.class} step after the point of no return`,
          'put it before the pivot, or make it retriable',
        );
      return node.class === 'compensatable' ? side : 'after';
    case 'parallel':
      return checkBranches(node.branches, at, side);
    case 'choice': {
      const sides = Object.values(node.branches).map((part) => checkOrder(part, at, side));
      if (sides.length === 0) throw misplaced(at, 'has no branches', 'give it at least one');
      return sides.includes('after') ? 'after' : side;
    }
    case 'loop': {
      if (node.body.length === 0) throw misplaced(at, 'has no steps', 'give its body at least one');
      const after = checkOrder(node.body, at, side);
      if (side === 'before' && after === 'after')
        throw misplaced(
          at,
          'has a pivot or a retriable step, which the next round would come after',
          'put it after the loop',
        );
      return after;
    }
    case 'signal':
      if (side === 'after' && node.timeoutMs !== undefined && node.onTimeout === 'fail')
        throw misplaced(
          at,
          'would fail by its timeout after the point of no return',
          "say onTimeout: 'continue', or wait as long as it takes",
        );
      return side;
    case 'sleep':
      return side;
    default:
      return unreachable(node);
  }
}

/** A pivot stands alone: what runs beside it could not be taken back any more, or would have to be. */
function checkBranches(
  branches: Readonly<Record<string, readonly SagaNode[]>>,
  at: string,
  side: Side,
): Side {
  const parts = Object.values(branches);
  if (parts.length === 0) throw misplaced(at, 'has no branches', 'give it at least one');
  const sides = parts.map((part) => checkOrder(part, at, side));
  if (side === 'before' && parts.length > 1 && sides.includes('after'))
    throw misplaced(
      at,
      'has a pivot or a retriable step beside branches that can still fail',
      'put it after the parallel group',
    );
  return sides.includes('after') ? 'after' : side;
}

/** What must stay the same for a running saga to go on: the structure, not the code of its steps. */
function shapeOf(nodes: readonly SagaNode[]): string {
  return JSON.stringify(nodes.map(nodeShape));
}

function nodeShape(node: SagaNode): unknown {
  switch (node.kind) {
    case 'step':
      return [node.kind, node.name, node.class, typeof node.undo];
    case 'child':
      return [node.kind, node.name, node.class, node.saga.name, typeof node.undo];
    case 'parallel':
    case 'choice':
      return [
        node.kind,
        node.name,
        Object.entries(node.branches).map(([branch, part]) => [branch, shapeOf(part)]),
      ];
    case 'loop':
      return [node.kind, node.name, shapeOf(node.body)];
    case 'sleep':
    case 'signal':
      return [node.kind, node.name];
    default:
      return unreachable(node);
  }
}

function misplaced(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
