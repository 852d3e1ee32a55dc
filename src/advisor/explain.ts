import { lead, NEW_STORE_POINTS, type Decision, type Ranked } from './decide.ts';
import type { Fact } from './fact.ts';
import { costOf } from './money.ts';
import { criteria, weights, type Criterion } from './score.ts';
import type { Flip } from './sensitivity.ts';
import { sources } from './sources.ts';
import type { Workload } from './workload.ts';

/** Flips that are told; the rest is in the JSON. */
const FLIPS_SHOWN_MAX = 8;

/** What was decided, for a person: the pick, the alternative, what would change it. */
export function decisionText(
  workload: Workload,
  decision: Decision,
  flips: readonly Flip[],
): string {
  if (decision.kind === 'conflict') return conflictText(decision);
  const { pick, alternative, requirements } = decision;
  const lines = [
    `asked for: ${requirements.map(({ says }) => says).join(', ')}`,
    '',
    ...(decision.kind === 'keep' ? keepLines(pick, alternative) : [`take ${titleOf(pick)}`]),
    ...aboutLines(pick, workload),
    ...(alternative === undefined
      ? ['', 'there is no credible alternative: everything else is eliminated']
      : [
          '',
          `the alternative: ${titleOf(alternative)}${decision.kind === 'keep' ? '' : `, ${Math.round(pick.score - alternative.score)} points behind`}`,
          ...aboutLines(alternative, workload),
        ]),
    ...precedentLines(decision),
    '',
    'what would change the answer:',
    ...(flips.length === 0 ? ['  nothing that was tried'] : flipLines(flips)),
  ];
  return lines.join('\n');
}

/** Everything that was weighed: points, what was eliminated by what, and the documents. */
export function explanationText(decision: Decision): string {
  const lines = [
    '',
    'scores (weights: a judgement, see docs/guide/advise.md):',
    ...(Object.keys(weights) as Criterion[]).map(
      (name) => `  ${String(weights[name]).padStart(3)}  ${name}: ${criteria[name]}`,
    ),
    '',
    ...decision.ranked.map(
      (ranked) =>
        `  ${ranked.score.toFixed(1).padStart(5)}  ${titleOf(ranked)}: ${(
          Object.keys(weights) as Criterion[]
        )
          .map((name) => `${name} ${(weights[name] * ranked.points[name]).toFixed(1)}`)
          .join(', ')}`,
    ),
    '',
    'eliminated:',
    ...decision.eliminated.map(
      ({ candidate, fails }) =>
        `  ${candidate.system.name}: ${fails.map(({ says }) => says).join(', ')}`,
    ),
  ];
  if (decision.kind !== 'conflict') lines.push('', ...factLines(decision.pick));
  return lines.join('\n');
}

function conflictText(decision: Extract<Decision, { kind: 'conflict' }>): string {
  const sets = decision.relax.map(
    ({ requirements, systems }) =>
      `  ${requirements.map(({ says }) => says).join(' and ')}: then ${systems.join(', ')}`,
  );
  return [
    `no system satisfies: ${decision.requirements.map(({ says }) => says).join(' + ')}`,
    '',
    `the smallest set to relax is${sets.length === 1 ? '' : ' one of'}`,
    ...sets,
  ].join('\n');
}

function keepLines(pick: Ranked, alternative: Ranked | undefined): readonly string[] {
  const days = alternative?.candidate.system.operations.value ?? 0;
  return [
    `do not add a store: use ${titleOf(pick)}, which the team runs`,
    ...(alternative === undefined
      ? []
      : [
          `  ${alternative.candidate.system.name} would be ${describe(lead(alternative, pick))}; a new store has to be better by ${NEW_STORE_POINTS} points,`,
          `  for it costs about ${days} days a month (our estimate), a flow that keeps it in step, and one more thing that can be down`,
        ]),
  ];
}

function describe(points: number): string {
  return points > 0 ? `${Math.round(points)} points better` : `${Math.round(-points)} points worse`;
}

function titleOf({ candidate: { system, configuration, stretch } }: Ranked): string {
  const by = stretch === undefined ? '' : ` with ${stretch.by}`;
  return `${system.name}${by} (${configuration.id}: ${configuration.about})`;
}

function aboutLines(ranked: Ranked, workload: Workload): readonly string[] {
  const { system, configuration } = ranked.candidate;
  const cost = costOf(system, workload);
  const facts = [
    `${configuration.cap.value}, ${configuration.pacelc.value}`,
    `guarantees: ${said(configuration.guarantees, (list) => (list.length === 0 ? 'eventual' : list.join(', ')))}`,
    `an acknowledged write: ${said(configuration.durability, (word) => word)}`,
  ];
  return [
    `  ${facts.join('; ')}`,
    ...(ranked.unknown.length === 0
      ? []
      : [`  not known, find out first: ${ranked.unknown.map(({ says }) => says).join(', ')}`]),
    ...(system.caution === undefined ? [] : [`  mind: ${system.caution.value}`]),
    ...system.tests
      .filter(({ fixed }) => fixed.startsWith('open'))
      .map(({ versions, found }) => `  tests found (${versions}): ${found}`),
    cost === undefined
      ? `  costs about ${system.operations.value} days of operations a month (our estimate); no list price is known for this`
      : `  list price about $${cost.dollarsPerMonth} a month: ${cost.parts.map(({ says, date }) => `${says} (${date})`).join(', ')}`,
  ];
}

function said<Value>(fact: Fact<Value> | undefined, text: (value: Value) => string): string {
  if (fact === undefined) return 'not known';
  return `${text(fact.value)}${fact.confidence === 'low' ? ' (not looked up)' : ''}`;
}

/** Where the usual tree says something else, the answer says why. */
function precedentLines(decision: Exclude<Decision, { kind: 'conflict' }>): readonly string[] {
  const { leaf, pick, ranked, eliminated } = decision;
  if (leaf === undefined) return [];
  const because = leaf.systems
    .filter((id) => id !== pick.candidate.system.id)
    .map((id) => {
      const out = eliminated.find(({ candidate }) => candidate.system.id === id);
      if (out !== undefined)
        return `${out.candidate.system.name} fails ${out.fails.map(({ says }) => says).join(', ')}`;
      const place = ranked.findIndex(({ candidate }) => candidate.system.id === id);
      return place === -1
        ? `${id} has another data model`
        : `${ranked[place]?.candidate.system.name ?? id} is number ${place + 1} here`;
    });
  const holds = leaf.systems.includes(pick.candidate.system.id);
  return [
    '',
    `the usual tree (${leaf.says}) ${holds ? 'says so too' : 'says otherwise'}${because.length === 0 ? '' : `: ${because.join('; ')}`}`,
  ];
}

function flipLines(flips: readonly Flip[]): readonly string[] {
  const lines = flips.slice(0, FLIPS_SHOWN_MAX).map(({ says, decision }) => {
    if (decision.kind === 'conflict') return `  ${says}: no system is left`;
    const { name } = decision.pick.candidate.system;
    return `  ${says}: ${decision.kind === 'keep' ? `keep ${name}` : name}`;
  });
  const more = flips.length - lines.length;
  return more === 0 ? lines : [...lines, `  and ${more} more (--json lists them)`];
}

function factLines({ candidate: { system, configuration } }: Ranked): readonly string[] {
  const facts = [
    ['guarantees', configuration.guarantees],
    ['durability', configuration.durability],
    ['transactions', configuration.transactions],
    ['reach', configuration.reach],
    ['largest item, bytes', system.itemBytesMax],
    ['where people stop, bytes', system.bytesMax],
    ['licence', system.license],
  ] as const;
  return [
    `what is known of ${system.name} as ${configuration.id}:`,
    ...facts.map(([name, fact]) => {
      if (fact === undefined) return `  ${name}: not known`;
      const { title, url } = sources[fact.source];
      return `  ${name}: ${JSON.stringify(fact.value)} (${fact.confidence}; ${title}${url === '' ? '' : `, ${url}`}, ${fact.date})`;
    }),
  ];
}
