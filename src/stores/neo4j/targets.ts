import { TallyError } from '../../core/errors.ts';
import { checkObject, checkOptions, checkString, fieldPath, suggest } from '../../core/options.ts';

/** Rows as nodes. */
export interface NodeTarget {
  readonly kind: 'node';
  readonly label: string | undefined;
}

/** One end of a relationship: a node of another target, by the columns of the row that hold its key. */
export interface End {
  readonly target: string;
  readonly key: readonly string[];
}

/** Rows as relationships between nodes. */
export interface RelationshipTarget {
  readonly kind: 'relationship';
  readonly type: string | undefined;
  readonly from: End;
  readonly to: End;
}

/** What a target of a Neo4j sink is; made by `node`, `relationship`. */
export type TargetDeclaration = NodeTarget | RelationshipTarget;

/** Target declarations by name. */
export type Targets = Readonly<Record<string, TargetDeclaration>>;

/**
 * Rows as nodes with a label, which is the name of the target if it is not given: `MATCH (c:customers {city: 'Bern'})`.
 * Throws CONFIG_INVALID.
 */
export function node(options: { readonly label?: string } = {}): NodeTarget {
  checkOptions(options, ['label'], 'node');
  const { label } = options;
  if (label !== undefined) checkName(label, 'node.label');
  return { kind: 'node', label };
}

/**
 * Rows as relationships from a node to a node, of a type that is the name of the target if it is not given. Each end names
 * the target of its node, and the columns of the row that hold that node's key. A relationship whose node has not come yet
 * makes one with nothing but its key, which is filled when its row comes. Throws CONFIG_INVALID.
 *
 * @example relationship({ type: 'BOUGHT', from: { target: 'customers', key: ['customer'] }, to: { target: 'products', key: ['sku'] } })
 */
export function relationship(options: {
  readonly type?: string;
  readonly from: End;
  readonly to: End;
}): RelationshipTarget {
  checkOptions(options, ['type', 'from', 'to'], 'relationship');
  const { type, from, to } = options;
  if (type !== undefined) checkName(type, 'relationship.type');
  checkEnd(from, 'relationship.from');
  checkEnd(to, 'relationship.to');
  return { kind: 'relationship', type, from, to };
}

function checkEnd(end: End, path: string): void {
  const { target, key } = checkObject(end, path);
  checkOptions(end, ['target', 'key'], path);
  checkString(target, `${path}.target`);
  if (!Array.isArray(key) || key.length === 0)
    throw invalid('an end needs the columns that hold the key of its node', `${path}.key`);
  for (const column of key) checkString(column, `${path}.key`);
}

const NAME_CHARACTERS_MAX = 200;

/** What Neo4j takes as a label or a type, and what is not ours. */
function checkName(name: string, path: string): void {
  checkString(name, path, { charactersMax: NAME_CHARACTERS_MAX });
  if (name.includes('\0') || !name.isWellFormed())
    throw invalid('a label or type is text without NUL', path);
  if (name.startsWith('_Tally'))
    throw invalid('labels that begin with _Tally are those of the coordinator', path);
}

/** A target as it is in the database. */
export type Place =
  | { readonly kind: 'node'; readonly target: string; readonly label: string }
  | {
      readonly kind: 'relationship';
      readonly target: string;
      readonly type: string;
      readonly from: { readonly label: string; readonly key: readonly string[] };
      readonly to: { readonly label: string; readonly key: readonly string[] };
    };

/** Checks declarations without connecting, and finds the places of all targets. Throws CONFIG_INVALID. */
export function checkTargets(targets: unknown, path: string): Targets {
  const taken = new Map<string, string>();
  for (const [name, declared] of Object.entries(checkObject(targets, path))) {
    const where = fieldPath(path, name);
    checkName(name, where);
    const { kind } = checkObject(declared, where);
    if (kind !== 'node' && kind !== 'relationship')
      throw new TallyError('CONFIG_INVALID', {
        what: `the target ${name} is not a target`,
        where,
        mend: 'make it with node() or relationship()',
        details: { path: where },
      });
    const target = declared as TargetDeclaration;
    const own = `${kind} ${target.kind === 'node' ? (target.label ?? name) : (target.type ?? name)}`;
    const other = taken.get(own);
    if (other !== undefined)
      throw invalid(`the targets ${other} and ${name} would share one label or type`, where);
    taken.set(own, name);
  }
  for (const [name, target] of Object.entries(targets as Targets)) {
    if (target.kind === 'relationship')
      for (const end of ['from', 'to'] as const)
        checkNodeOf(targets as Targets, target[end].target, fieldPath(path, `${name}.${end}`));
  }
  return targets as Targets;
}

function checkNodeOf(targets: Targets, name: string, path: string): void {
  if (targets[name]?.kind === 'node') return;
  const nodes = Object.keys(targets).filter((each) => targets[each]?.kind === 'node');
  const nearest = suggest(name, nodes);
  throw new TallyError('CONFIG_INVALID', {
    what: `there is no target ${name} of nodes`,
    where: path,
    mend: `${nearest === undefined ? '' : `did you mean ${nearest}? `}declare it with node()`,
    details: { path, ...(nearest === undefined ? {} : { nearest }) },
  });
}

/** Where the rows of a target are. A target that was not declared is one of nodes. */
export function placeOf(targets: Targets, target: string): Place {
  const declared = Object.hasOwn(targets, target) ? targets[target] : undefined;
  if (declared === undefined || declared.kind === 'node')
    return { kind: 'node', target, label: declared?.label ?? target };
  const label = (name: string): string => {
    const end = targets[name];
    return end?.kind === 'node' ? (end.label ?? name) : name;
  };
  const { type, from, to } = declared;
  return {
    kind: 'relationship',
    target,
    type: type ?? target,
    from: { label: label(from.target), key: from.key },
    to: { label: label(to.target), key: to.key },
  };
}

function invalid(what: string, where: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what, where, details: { path: where } });
}
