import type { Place } from './document.ts';
import type { RuleId } from './rule-ids.ts';
import type { Topology } from './topology.ts';

export const severities = ['error', 'warning', 'note'] as const;
export type Severity = (typeof severities)[number];

/** What a rule looks for, said once: the remedy and the price of ignoring it belong to the rule, not to the place. */
export interface RuleText {
  readonly id: RuleId;
  readonly severity: Severity;
  /** One sentence. */
  readonly about: string;
  readonly remedy: string;
  /** What it costs to ignore. */
  readonly cost: string;
}

/** What a rule says about one subject. */
export interface Hit {
  /** What it is about, the same after lines were moved: `orders.cache`, `a → b → c`. */
  readonly subject: string;
  /** The declaration it stands at. */
  readonly path: string;
  /** Why it was found here, one sentence with the names and numbers. */
  readonly why: string;
  /** Where this one is milder than the rule. */
  readonly severity?: Severity;
}

/** One thing that is wrong with a topology. */
export interface Finding extends RuleText {
  readonly subject: string;
  readonly file: string;
  readonly at: Place;
  readonly path: string;
  readonly why: string;
}

/** A rule is a function of the topology: no clock, no order. */
export interface Rule extends RuleText {
  find(topology: Topology, context: RuleContext): Iterable<Hit>;
}

/** What rules may ask beside the topology. */
export interface RuleContext {
  /** Today, `2026-11-30`, for evidence that ages. */
  readonly today: string;
}
