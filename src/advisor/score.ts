import type { Known } from './fact.ts';
import type { Candidate } from './requirements.ts';
import { reaches } from './system.ts';
import type { Leaf } from './tree.ts';
import type { Workload } from './workload.ts';

/** What is looked at beside the requirements. */
export type Criterion =
  'fit' | 'precedent' | 'operations' | 'headroom' | 'latency' | 'evidence' | 'modesty' | 'driver';

/** What counts, and how much: the weights add up to 100. They are a judgement, and here is where to argue with it. */
export const weights: Readonly<Record<Criterion, number>> = {
  fit: 20,
  precedent: 25,
  operations: 20,
  headroom: 10,
  latency: 5,
  evidence: 10,
  modesty: 5,
  driver: 5,
};

/** Why each criterion counts, in words. */
export const criteria: Readonly<Record<Criterion, string>> = {
  fit: 'made for the data model (1), serves it too (0.7), by an extension (0.4)',
  precedent: 'what the usual decision tree names for this',
  operations: 'days a month that it costs; nothing if the team runs it already',
  headroom: 'how far the data is from where people stop',
  latency: 'how far reads are below the limit',
  evidence:
    'how much of what is needed was read in a document; open test findings count against it',
  modesty: 'no more reach than was asked for',
  driver: 'a driver for Node exists',
};

/** Points of each criterion, from 0 to 1. */
export type Points = Readonly<Record<Criterion, number>>;

const CONFIDENCE_POINTS = { high: 1, medium: 0.7, low: 0.3 } as const;
/** Days a month at which a system has no points left. */
const OPERATIONS_DAYS_MAX = 8;

/** The points of a candidate that met every requirement, or may meet it. */
export function pointsOf(candidate: Candidate, workload: Workload, leaf: Leaf | undefined): Points {
  const { system, configuration, stretch } = candidate;
  const runs = workload.runs?.includes(system.id) === true;
  const named = leaf?.systems.indexOf(system.id) ?? -1;
  const reach = reaches.indexOf(configuration.reach?.value ?? 'region');
  const asked = reaches.indexOf(workload.reach ?? 'region');
  return {
    fit: stretch !== undefined ? 0.4 : system.models.value[0] === workload.model ? 1 : 0.7,
    precedent: named === -1 || stretch !== undefined ? 0 : 1 - named * 0.1,
    operations: runs ? 1 : clamp(1 - system.operations.value / OPERATIONS_DAYS_MAX),
    headroom: headroom(stretch?.bytesMax ?? system.bytesMax?.value, workload.bytes),
    latency: latency(system.readMs?.value, workload.latencyMs),
    evidence: evidence(candidate),
    modesty: reach > asked ? 0 : 1,
    driver: system.driver?.value === undefined || system.driver.value === null ? 0 : 1,
  };
}

/** The sum of points by weight, from 0 to 100. */
export function scoreOf(points: Points): number {
  const sum = (Object.keys(weights) as Criterion[]).reduce(
    (total, name) => total + weights[name] * points[name],
    0,
  );
  return Math.round(sum * 100) / 100;
}

function headroom(most: number | undefined, bytes: number | undefined): number {
  if (bytes === undefined || bytes <= 0) return 0.5;
  return most === undefined ? 0 : clamp(Math.log10(most / bytes) / 2);
}

function latency(readMs: number | undefined, limitMs: number | undefined): number {
  if (limitMs === undefined || limitMs <= 0) return 0.5;
  return readMs === undefined ? 0 : clamp(Math.log10(limitMs / readMs));
}

function evidence({ system, configuration }: Candidate): number {
  const facts: readonly Known<unknown>[] = [
    configuration.guarantees,
    configuration.durability,
    configuration.transactions,
    configuration.reach,
    configuration.survives,
    system.itemBytesMax,
    system.bytesMax,
  ];
  const points: readonly number[] = facts.map((fact) =>
    fact === undefined ? 0 : CONFIDENCE_POINTS[fact.confidence],
  );
  const share = points.reduce((sum, point) => sum + point, 0) / facts.length;
  const open = system.tests.filter(({ fixed }) => fixed.startsWith('open')).length;
  return clamp(share - 0.1 * open);
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
