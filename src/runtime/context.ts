import { AsyncLocalStorage } from 'node:async_hooks';
import { clampEvidence, type Evidence, mergeEvidence, noEvidence } from '../core/evidence.ts';

/**
 * Evidence of one piece of work, by where it came from. The three are kept apart because they may
 * be used differently: what came from outside bounds the reads of this work and is passed on only
 * as far as it is borne out; what this process wrote or was handed by its own code is known to be
 * true. Mixed, one hostile header would make every service down the line wait for a position that
 * does not exist.
 */
interface Context {
  /** From outside: a header, a message. */
  readonly inbound: Evidence;
  /** From the application's own code, by {@link withEvidence}. */
  readonly given: Evidence;
  /** Of writes made within. Shared by nested contexts: a write below is a write of the whole work. */
  readonly produced: { evidence: Evidence };
}

const storage = new AsyncLocalStorage<Context>();

/**
 * Runs `work` in a context of its own, such as one request or one message: `inbound` is evidence
 * that came from outside with it, and nothing of a surrounding context is seen. Evidence of writes
 * within is collected until `work` and everything it started has ended.
 */
export function runInContext<Result>(inbound: Evidence, work: () => Result): Result {
  return storage.run({ inbound, given: noEvidence, produced: { evidence: noEvidence } }, work);
}

/**
 * Runs `work` so that its reads also wait for `evidence`, which the application's own code has
 * from a write. Within a context the evidence adds to it until `work` ends; without one this is
 * the context. For evidence from outside use {@link runInContext}. Throws EVIDENCE_TOO_LARGE.
 */
export function withEvidence<Result>(evidence: Evidence, work: () => Result): Result {
  const outer = storage.getStore();
  if (outer === undefined) {
    const produced = { evidence: noEvidence };
    return storage.run({ inbound: noEvidence, given: evidence, produced }, work);
  }
  return storage.run({ ...outer, given: mergeEvidence(outer.given, evidence) }, work);
}

/**
 * Everything that reads in the present context have to be after: what came in, what was given, and
 * what was written. Empty without a context. Throws EVIDENCE_TOO_LARGE, which only inbound
 * evidence with made-up epochs can bring about.
 */
export function currentEvidence(): Evidence {
  const context = storage.getStore();
  if (context === undefined) return noEvidence;
  return mergeEvidence(context.inbound, context.given, context.produced.evidence);
}

/**
 * Adds the evidence of a committed write to the present context; does nothing without one. What
 * came from outside has no part in it, so that a hostile header cannot make a committed write
 * fail.
 */
export function addEvidence(evidence: Evidence): void {
  const context = storage.getStore();
  if (context === undefined) return;
  context.produced.evidence = mergeEvidence(context.produced.evidence, evidence);
}

/**
 * What the present context passes on to other services: its own evidence as it is, inbound
 * evidence as far as `heads` (the furthest known position of each lane and epoch) bears it out.
 * Without heads nothing inbound is passed on. Throws EVIDENCE_TOO_LARGE.
 */
export function evidenceToPassOn(heads: Evidence = noEvidence): Evidence {
  const context = storage.getStore();
  if (context === undefined) return noEvidence;
  const inbound = clampEvidence(context.inbound, heads);
  return mergeEvidence(inbound, context.given, context.produced.evidence);
}

/** A piece of work, for what is to be remembered as long as it lasts. */
export interface Work {
  /** The same in all nested contexts of one piece of work. */
  readonly id: object;
  /** Another object after each write of the work. */
  readonly written: Evidence;
  /** What the application's own code gave, here. */
  readonly given: Evidence;
}

/** The present piece of work: the request, the message. Undefined without a context. */
export function currentWork(): Work | undefined {
  const context = storage.getStore();
  if (context === undefined) return undefined;
  const { produced, given } = context;
  return { id: produced, written: produced.evidence, given };
}
