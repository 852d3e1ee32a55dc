import { sources, type SourceId } from './sources.ts';

/** How far a fact can be leaned on: read in its source, inferred from it, or remembered. */
export type Confidence = 'high' | 'medium' | 'low';

/** One thing that is held to be true of a system, and why. What is not known has no fact: that is not the same as "no". */
export interface Fact<Value> {
  readonly value: Value;
  /** A document in {@link sources}. `unchecked` is what nobody has looked up yet; such a fact has low confidence. */
  readonly source: SourceId;
  /** When the source was read, or, if it says so itself, published: `2025-04-29`. */
  readonly date: string;
  readonly confidence: Confidence;
}

/** A fact that was read in a document. `medium` is for what follows from it without being its words. */
export function known<const Value>(
  value: Value,
  source: Exclude<SourceId, 'unchecked'>,
  confidence: 'high' | 'medium' = 'high',
): Fact<Value> {
  return { value, source, date: sources[source].date, confidence };
}

/** A fact from general knowledge that was not looked up. It counts less and says so wherever it is shown. */
export function recalled<const Value>(value: Value): Fact<Value> {
  return { value, source: 'unchecked', date: sources.unchecked.date, confidence: 'low' };
}

/** What takes part in a comparison although nothing is known. */
export type Known<Value> = Fact<Value> | undefined;
