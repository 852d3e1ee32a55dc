import type { Finding, Hit, RuleContext, RuleText } from './finding.ts';
import { rules, unusedIgnore } from './rules.ts';
import type { Topology } from './topology.ts';

/** Findings of one rule that are told: whoever has more of one kind mends the kind. */
const FINDINGS_PER_RULE_MAX = 1_000;

/** What the lint says, and what it was told not to say. */
export interface LintResult {
  readonly findings: readonly Finding[];
  readonly ignored: readonly { readonly finding: Finding; readonly reason: string }[];
  /** Rules that had more findings than are told, with how many were left out. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/**
 * Looks for what is known to go wrong. `observed` are findings of traces, which are sorted, ignored and weighed the same
 * way. The result depends on the topology and on today's date only.
 */
export function lint(
  topology: Topology,
  context: RuleContext,
  observed: readonly Finding[] = [],
): LintResult {
  const found: Finding[] = [];
  const leftOut: Record<string, number> = {};
  for (const rule of rules) {
    let count = 0;
    for (const hit of rule.find(topology, context)) {
      count += 1;
      if (count <= FINDINGS_PER_RULE_MAX) found.push(findingOf(rule, hit, topology));
    }
    if (count > FINDINGS_PER_RULE_MAX) leftOut[rule.id] = count - FINDINGS_PER_RULE_MAX;
  }
  const { severities = {}, ignore = [] } = topology.declaration;
  const weighed = [...found, ...observed].flatMap((finding) => {
    const severity = severities[finding.id] ?? finding.severity;
    return severity === 'off' ? [] : [{ ...finding, severity }];
  });
  const used = new Set<string>();
  const findings: Finding[] = [];
  const ignored: { readonly finding: Finding; readonly reason: string }[] = [];
  for (const finding of weighed) {
    const match = ignore.find(
      ({ rule, at }) => rule === finding.id && (at === undefined || at === finding.subject),
    );
    if (match === undefined) findings.push(finding);
    else {
      used.add(match.path);
      ignored.push({ finding, reason: match.reason });
    }
  }
  for (const { path, rule, at } of ignore)
    if (!used.has(path))
      findings.push(
        findingOf(
          unusedIgnore,
          {
            subject: `${rule}${at === undefined ? '' : ` at ${at}`}`,
            path,
            why: `no finding of ${rule}${at === undefined ? '' : ` at ${at}`} is left to ignore`,
          },
          topology,
        ),
      );
  return { findings: findings.toSorted(byPlace), ignored, leftOut };
}

/** A hit with the text of its rule and its place. */
export function findingOf(rule: RuleText, hit: Hit, topology: Topology): Finding {
  const { id, severity, about, remedy, cost } = rule;
  return {
    id,
    severity: hit.severity ?? severity,
    about,
    remedy,
    cost,
    subject: hit.subject,
    path: hit.path,
    why: hit.why,
    file: topology.file,
    at: topology.placeOf(hit.path),
  };
}

function byPlace(left: Finding, right: Finding): number {
  return (
    left.at.line - right.at.line ||
    left.at.column - right.at.column ||
    left.id.localeCompare(right.id) ||
    left.subject.localeCompare(right.subject)
  );
}
