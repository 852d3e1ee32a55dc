import { catalogue } from './catalogue.ts';
import { requirementsOf, verdict, type Candidate, type Requirement } from './requirements.ts';
import { pointsOf, scoreOf, weights, type Points } from './score.ts';
import { leafOf, type Leaf } from './tree.ts';
import type { Workload } from './workload.ts';

/**
 * Points that a new store has to be better by than one that the team runs: a new one brings backups, upgrades, an on-call
 * page and a flow to keep it in step. A judgement, like the weights.
 */
export const NEW_STORE_POINTS = 15;

/** A candidate that no requirement eliminates. */
export interface Ranked {
  readonly candidate: Candidate;
  readonly score: number;
  readonly points: Points;
  /** Requirements of which nobody knows whether it meets them. */
  readonly unknown: readonly Requirement[];
  /** Whether the team runs it already. */
  readonly runs: boolean;
}

/** A system that is out, with what it fails in the configuration that fails least. */
export interface Eliminated {
  readonly candidate: Candidate;
  readonly fails: readonly Requirement[];
}

/** Requirements that could be relaxed, and what that would let in. */
export interface Relaxation {
  readonly requirements: readonly Requirement[];
  readonly systems: readonly string[];
}

interface Considered {
  readonly requirements: readonly Requirement[];
  /** The best configuration of each system, best first. */
  readonly ranked: readonly Ranked[];
  readonly eliminated: readonly Eliminated[];
  readonly leaf: Leaf | undefined;
}

/** What to do about a workload. */
export type Decision =
  | ({
      /** `keep`: no new store; `add`: this one. */
      readonly kind: 'keep' | 'add';
      readonly pick: Ranked;
      readonly alternative: Ranked | undefined;
    } & Considered)
  | ({
      readonly kind: 'conflict';
      /** The smallest sets of requirements without which something is left; all of them. */
      readonly relax: readonly Relaxation[];
    } & Considered);

const candidates: readonly Candidate[] = catalogue.flatMap((system) =>
  system.configurations.flatMap((configuration) => [
    { system, configuration },
    ...system.stretches.map((stretch) => ({ system, configuration, stretch })),
  ]),
);

/**
 * Eliminates what fails a requirement, ranks the rest by stated weights, and says whether a new store is worth it. Adding
 * a requirement never brings an eliminated system back, and relaxing one never removes a system: each requirement looks
 * at a candidate alone.
 */
export function decide(workload: Workload): Decision {
  const requirements = requirementsOf(workload);
  const leaf = leafOf(workload);
  const best = new Map<string, Ranked>();
  const out = new Map<string, Eliminated>();
  for (const candidate of candidates) {
    const verdicts = requirements.map(({ name }) => verdict(name, workload, candidate));
    // What has another data model is not eliminated: it was never meant.
    if (verdicts[0] === 'fails') continue;
    const fails = requirements.filter((_, index) => verdicts[index] === 'fails');
    const { id } = candidate.system;
    if (fails.length > 0) {
      const before = out.get(id);
      if (before === undefined || fails.length < before.fails.length)
        out.set(id, { candidate, fails });
      continue;
    }
    const points = pointsOf(candidate, workload, leaf);
    const score = scoreOf(points);
    const before = best.get(id);
    if (before !== undefined && before.score >= score) continue;
    best.set(id, {
      candidate,
      score,
      points,
      unknown: requirements.filter((_, index) => verdicts[index] === 'unknown'),
      runs: workload.runs?.includes(id) === true,
    });
  }
  const ranked = [...best.values()].toSorted(
    (left, right) =>
      right.score - left.score || compare(left.candidate.system.id, right.candidate.system.id),
  );
  const eliminated = [...out.values()].filter(({ candidate }) => !best.has(candidate.system.id));
  const considered = { requirements, ranked, eliminated, leaf };
  const [first] = ranked;
  if (first === undefined)
    return { kind: 'conflict', relax: smallest(workload, requirements), ...considered };
  const kept = ranked.find(({ runs }) => runs);
  if (kept !== undefined && lead(first, kept) < NEW_STORE_POINTS)
    return {
      kind: 'keep',
      pick: kept,
      alternative: ranked.find((one) => !one.runs),
      ...considered,
    };
  return { kind: 'add', pick: first, alternative: ranked[1], ...considered };
}

/**
 * By how many points one is better than another, precedent left out: what people take who have nothing yet is no reason
 * to add a store to one that does it.
 */
export function lead(one: Ranked, other: Ranked): number {
  const own = ({ score, points }: Ranked): number => score - weights.precedent * points.precedent;
  return own(one) - own(other);
}

/**
 * The smallest sets to relax. A candidate is let in exactly by relaxing all that it fails; so the smallest sets are the
 * shortest lists of failures, over every configuration: one system may have two that fail different things.
 */
function smallest(workload: Workload, requirements: readonly Requirement[]): readonly Relaxation[] {
  const sets = new Map<string, { requirements: readonly Requirement[]; systems: Set<string> }>();
  for (const candidate of candidates) {
    if (verdict('model', workload, candidate) === 'fails') continue;
    const fails = requirements.filter(({ name }) => verdict(name, workload, candidate) === 'fails');
    const key = fails.map(({ name }) => name).join(' ');
    const set = sets.get(key) ?? { requirements: fails, systems: new Set<string>() };
    set.systems.add(candidate.system.name);
    sets.set(key, set);
  }
  const all = [...sets.values()];
  const least = Math.min(...all.map((set) => set.requirements.length));
  return all
    .filter((set) => set.requirements.length === least)
    .map((set) => ({ requirements: set.requirements, systems: [...set.systems] }));
}

function compare(left: string, right: string): number {
  return left < right ? -1 : Number(left > right);
}
