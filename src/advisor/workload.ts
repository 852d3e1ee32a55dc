import { TallyError } from '../core/errors.ts';
import {
  checkNumber,
  checkObject,
  checkOneOf,
  checkOptions,
  fieldPath,
  suggest,
} from '../core/options.ts';

import { findSystem, systemNames } from './catalogue.ts';
import {
  dataModels,
  durabilities,
  guarantees,
  queryShapes,
  reaches,
  transactionScopes,
  type DataModel,
  type Durability,
  type Guarantee,
  type QueryShape,
  type Reach,
  type TransactionScope,
} from './system.ts';

export type Consistency = 'eventual' | Guarantee;
export const consistencies: readonly Consistency[] = ['eventual', ...guarantees];

export const hostings = ['embedded', 'self-hosted', 'managed'] as const;
export type Hosting = (typeof hostings)[number];

/** How large an operations team the workload may ask for. */
export const teams = ['none', 'small', 'platform'] as const;
export type Team = (typeof teams)[number];

/** Items of a list in a workload. */
const LIST_MAX = 50;
/** The largest number in a workload: 2^60 bytes are an exbibyte. */
const NUMBER_MAX = 1e19;

/**
 * What an application needs of a store. Everything that is not given is not required; `eventual`, `memory` and `none` ask
 * for nothing either.
 */
export interface Workload {
  readonly model: DataModel;
  /** The longest a typical read may take, ms. */
  readonly latencyMs?: number;
  /** The least that an acknowledged write survives. */
  readonly durability?: Durability;
  readonly consistency?: Consistency;
  readonly transactions?: TransactionScope;
  /** All of the data, in bytes. */
  readonly bytes?: number;
  /** The largest item, in bytes. */
  readonly itemBytes?: number;
  /** Edges of a graph. */
  readonly edges?: number;
  readonly reach?: Reach;
  /** Whether a failed machine may stop it. */
  readonly survives?: number;
  readonly queries?: readonly QueryShape[];
  /** How long data is kept, days. */
  readonly retentionDays?: number;
  readonly analytics?: boolean;
  readonly hosting?: Hosting;
  readonly team?: Team;
  readonly openSource?: boolean;
  /** Systems that the team runs already. */
  readonly runs?: readonly string[];
  readonly readsPerSecond?: number;
  readonly writesPerSecond?: number;
}

export type RequirementName = Exclude<
  keyof Workload,
  'runs' | 'readsPerSecond' | 'writesPerSecond'
>;

const known: readonly (keyof Workload)[] = [
  'model',
  'latencyMs',
  'durability',
  'consistency',
  'transactions',
  'bytes',
  'itemBytes',
  'edges',
  'reach',
  'survives',
  'queries',
  'retentionDays',
  'analytics',
  'hosting',
  'team',
  'openSource',
  'runs',
  'readsPerSecond',
  'writesPerSecond',
];

/**
 * `value` as a workload; names of systems become those of the catalogue. Throws CONFIG_UNKNOWN_OPTION or CONFIG_INVALID with
 * the path of the field and the word that was probably meant.
 */
export function checkWorkload(value: unknown, path = 'workload'): Workload {
  const given = checkObject(value, path);
  checkOptions(given, known, path);
  const at = (name: string): string => fieldPath(path, name);
  const oneOf = <Word extends string>(
    name: keyof Workload,
    words: readonly Word[],
  ): Word | undefined =>
    given[name] === undefined ? undefined : checkOneOf(given[name], at(name), words);
  const number = (name: keyof Workload): number | undefined =>
    given[name] === undefined
      ? undefined
      : checkNumber(given[name], at(name), { min: 0, max: NUMBER_MAX });
  const flag = (name: keyof Workload): boolean | undefined => {
    const flagged = given[name];
    if (flagged === undefined || typeof flagged === 'boolean') return flagged;
    throw invalid(at(name), 'is neither true nor false', 'give true or false');
  };
  return defined({
    model: checkOneOf(given['model'], at('model'), dataModels),
    latencyMs: number('latencyMs'),
    durability: oneOf('durability', durabilities),
    consistency: oneOf('consistency', consistencies),
    transactions: oneOf('transactions', transactionScopes),
    bytes: number('bytes'),
    itemBytes: number('itemBytes'),
    edges: number('edges'),
    reach: oneOf('reach', reaches),
    survives: number('survives'),
    queries: list(given['queries'], at('queries'), (item, itemPath) =>
      checkOneOf(item, itemPath, queryShapes),
    ),
    retentionDays: number('retentionDays'),
    analytics: flag('analytics'),
    hosting: oneOf('hosting', hostings),
    team: oneOf('team', teams),
    openSource: flag('openSource'),
    runs: list(given['runs'], at('runs'), systemId),
    readsPerSecond: number('readsPerSecond'),
    writesPerSecond: number('writesPerSecond'),
  });
}

function list<Item>(
  value: unknown,
  path: string,
  check: (item: unknown, path: string) => Item,
): readonly Item[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length > LIST_MAX)
    throw invalid(path, `is no list of at most ${LIST_MAX}`, 'give a list');
  return value.map((item: unknown, index) => check(item, fieldPath(path, index)));
}

function systemId(item: unknown, path: string): string {
  const system = typeof item === 'string' ? findSystem(item) : undefined;
  if (system !== undefined) return system.id;
  const near = typeof item === 'string' ? suggest(item, systemNames()) : undefined;
  throw invalid(
    path,
    `names no system of the catalogue (${JSON.stringify(item).slice(0, 60)})`,
    near === undefined ? 'tally advise --systems lists them' : `did you mean ${near}?`,
  );
}

/** Without the fields that are undefined: what is not required is not there. */
function defined(fields: {
  readonly [Name in keyof Workload]: Workload[Name] | undefined;
}): Workload {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as unknown as Workload;
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
