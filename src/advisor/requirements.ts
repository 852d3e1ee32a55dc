import { unreachable } from '../core/errors.ts';
import type { Known } from './fact.ts';
import {
  durabilities,
  reaches,
  transactionScopes,
  type Configuration,
  type DataModel,
  type QueryShape,
  type Stretch,
  type SystemProfile,
} from './system.ts';
import { type RequirementName, type Workload } from './workload.ts';

/** A system as it would be used: in a configuration, as what it was made for or by an extension. */
export interface Candidate {
  readonly system: SystemProfile;
  readonly configuration: Configuration;
  /** How it serves the model, if it was not made for it. */
  readonly stretch?: Stretch;
}

/** What a candidate makes of one requirement. What is not known does not fail: it has to be found out. */
export type Verdict = 'meets' | 'fails' | 'unknown';

/** One requirement of a workload, in words. */
export interface Requirement {
  readonly name: RequirementName;
  readonly says: string;
}

/** Bytes that an edge takes with its properties and indexes: our judgement, for graphs that are given in edges. */
const EDGE_BYTES = 200;

/** Days a month that a team has for one more system. */
const TEAM_DAYS = { none: 1, small: 4, platform: Number.POSITIVE_INFINITY } as const;

/** What a workload requires, each in words; only what asks for something. */
export function requirementsOf(workload: Workload): readonly Requirement[] {
  const found: Requirement[] = [{ name: 'model', says: `data model ${workload.model}` }];
  const add = (name: RequirementName, says: string): void => void found.push({ name, says });
  const { latencyMs, durability, consistency, transactions, bytes, itemBytes, edges } = workload;
  if (latencyMs !== undefined) add('latencyMs', `reads in ${latencyMs} ms`);
  if (durability !== undefined && durability !== 'memory')
    add('durability', `durability ${durability}`);
  if (consistency !== undefined && consistency !== 'eventual')
    add('consistency', `consistency ${consistency}`);
  if (transactions !== undefined && transactions !== 'none')
    add('transactions', `transactions ${transactions}`);
  if (bytes !== undefined) add('bytes', `${sizeText(bytes)} of data`);
  if (itemBytes !== undefined) add('itemBytes', `items of ${sizeText(itemBytes)}`);
  if (edges !== undefined) add('edges', `${edges.toLocaleString('en')} edges`);
  const { reach, survives, queries, analytics, hosting, team, openSource } = workload;
  if (reach !== undefined && reach !== 'process') add('reach', `reach ${reach}`);
  if (survives !== undefined && survives > 0)
    add('survives', `survives ${survives} failed machines`);
  if (queries !== undefined && queries.length > 0) add('queries', `queries ${queries.join(', ')}`);
  if (analytics === true) add('analytics', 'analytics over all of it');
  if (hosting !== undefined) add('hosting', `hosting ${hosting}`);
  if (team !== undefined && team !== 'platform') add('team', `operations team ${team}`);
  if (openSource === true) add('openSource', 'an open-source licence');
  return found;
}

/** What a candidate makes of a requirement. Each looks at its own requirement only: so adding one never brings one back. */
export function verdict(name: RequirementName, workload: Workload, candidate: Candidate): Verdict {
  const { system, configuration } = candidate;
  switch (name) {
    case 'model':
      return decide(serves(candidate, workload.model));
    case 'latencyMs':
      return known(system.readMs, (ms) => ms <= (workload.latencyMs ?? Infinity));
    case 'durability':
      return known(configuration.durability, (offered) =>
        atLeast(durabilities, offered, workload.durability),
      );
    case 'consistency':
      return known(configuration.guarantees, (offered) =>
        (offered as readonly string[]).includes(workload.consistency ?? ''),
      );
    case 'transactions':
      return known(configuration.transactions, (offered) =>
        atLeast(transactionScopes, offered, workload.transactions),
      );
    case 'bytes':
      return fits(candidate, workload.bytes ?? 0);
    case 'itemBytes':
      return known(system.itemBytesMax, (most) => (workload.itemBytes ?? 0) <= most);
    case 'edges':
      return fits(candidate, (workload.edges ?? 0) * EDGE_BYTES);
    case 'reach':
      return known(configuration.reach, (offered) => atLeast(reaches, offered, workload.reach));
    case 'survives':
      return known(configuration.survives, (machines) => machines >= (workload.survives ?? 0));
    case 'queries':
      return answers(candidate, workload.queries ?? []);
    case 'analytics':
      return decide(
        system.models.value.includes('analytics') || candidate.stretch?.model === 'analytics',
      );
    case 'hosting':
      return decide(workload.hosting !== undefined && system.run.value.includes(workload.hosting));
    case 'team':
      return known(system.operations, (days) => days <= TEAM_DAYS[workload.team ?? 'platform']);
    case 'openSource':
      return known(system.license, ({ open }) => open);
    case 'retentionDays':
      return 'meets';
    default:
      return unreachable(name);
  }
}

function serves({ system, stretch }: Candidate, model: DataModel): boolean {
  return stretch === undefined ? system.models.value.includes(model) : stretch.model === model;
}

/** An extension has its own bound: a table is no search engine for a terabyte. */
function fits({ system, stretch }: Candidate, bytes: number): Verdict {
  if (stretch !== undefined) return decide(bytes <= stretch.bytesMax);
  return known(system.bytesMax, (most) => bytes <= most);
}

function answers({ system, stretch }: Candidate, wanted: readonly QueryShape[]): Verdict {
  if (stretch !== undefined) return decide(wanted.every((one) => stretch.queries.includes(one)));
  return known(system.queries, (offered) => wanted.every((one) => offered.includes(one)));
}

function known<Value>(fact: Known<Value>, holds: (value: Value) => boolean): Verdict {
  return fact === undefined ? 'unknown' : decide(holds(fact.value));
}

function decide(holds: boolean): Verdict {
  return holds ? 'meets' : 'fails';
}

/** Whether a word is at or above another of an ordered list. */
function atLeast<Word>(words: readonly Word[], offered: Word, wanted: Word | undefined): boolean {
  return wanted === undefined || words.indexOf(offered) >= words.indexOf(wanted);
}

/** Bytes for a person, in powers of 1,000. */
export function sizeText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${Math.round(value * 10) / 10} ${units[unit]}`;
}
