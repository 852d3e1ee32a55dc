import { decide, type Decision } from './decide.ts';
import { sizeText } from './requirements.ts';
import { durabilities, reaches, transactionScopes } from './system.ts';
import { consistencies, hostings, teams, type Workload } from './workload.ts';

/** One change of a workload. */
export interface Change {
  /** As a person would say it: "if consistency were session". */
  readonly says: string;
  readonly workload: Workload;
}

/** A change under which the answer is another. */
export interface Flip extends Change {
  readonly decision: Decision;
}

const LADDERS = {
  durability: durabilities,
  consistency: consistencies,
  transactions: transactionScopes,
  reach: reaches,
  hosting: hostings,
  team: teams,
} as const;

/** Quantities are tried a thousand and ten times as small and as large. */
const FACTORS = [0.001, 0.1, 10, 1_000];

/** Every change of one requirement that is tried: another word of its ladder, another order of magnitude, or none. */
export function changesOf(workload: Workload): readonly Change[] {
  const changes: Change[] = [];
  const change = (says: string, next: Workload): void =>
    void changes.push({ says, workload: next });
  for (const [name, words] of Object.entries(LADDERS) as [
    keyof typeof LADDERS,
    readonly string[],
  ][])
    for (const word of words)
      if (workload[name] !== word) change(`if ${name} were ${word}`, { ...workload, [name]: word });
  for (const name of ['bytes', 'itemBytes', 'latencyMs', 'edges', 'retentionDays'] as const) {
    const value = workload[name];
    if (value === undefined) continue;
    for (const factor of FACTORS)
      change(`if ${name} were ${quantity(name, value * factor)}`, {
        ...workload,
        [name]: value * factor,
      });
  }
  for (const name of ['analytics', 'openSource'] as const)
    change(workload[name] === true ? `without ${name}` : `with ${name}`, {
      ...workload,
      [name]: workload[name] !== true,
    });
  for (const name of Object.keys(workload) as (keyof Workload)[]) {
    if (name === 'model' || name === 'analytics' || name === 'openSource') continue;
    const { [name]: _gone, ...rest } = workload;
    change(`without ${name}`, rest);
  }
  for (const system of workload.runs ?? [])
    change(`if the team did not run ${system}`, {
      ...workload,
      runs: (workload.runs ?? []).filter((one) => one !== system),
    });
  return changes;
}

/** Which changes of one requirement change the answer, and into what. */
export function flipsOf(workload: Workload, decision: Decision): readonly Flip[] {
  return changesOf(workload)
    .map((one) => ({ ...one, decision: decide(one.workload) }))
    .filter((flip) => answerOf(flip.decision) !== answerOf(decision));
}

/** The answer in one word: what is compared when one asks whether it changed. */
export function answerOf(decision: Decision): string {
  return decision.kind === 'conflict'
    ? 'conflict'
    : `${decision.kind} ${decision.pick.candidate.system.id}`;
}

function quantity(name: string, value: number): string {
  if (name === 'bytes' || name === 'itemBytes') return sizeText(value);
  const rounded = Number(value.toPrecision(3));
  return name === 'latencyMs' ? `${rounded} ms` : String(rounded);
}
