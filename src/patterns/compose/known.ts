import type { Coverage } from '../../core/evidence.ts';
import { coversEvidence, type Evidence } from '../../core/evidence.ts';
import type { Freshness } from '../../flow/barrier.ts';

/** How fresh a value is, by evidence: what a read through `app.read` was told, or nothing was. */
export type Known = Freshness | { readonly kind: 'unknown' };

export const unknown: Known = { kind: 'unknown' };

/** The worst first: a page is as fresh as the stalest thing on it. */
const worstFirst: readonly Known['kind'][] = [
  'blocked',
  'incomparable',
  'unsupported',
  'timeout',
  'stale',
  'unknown',
  'fresh',
];

/** The worse of two; a first one that is not there counts for nothing. */
export function worse(left: Known | undefined, right: Known): Known {
  if (left === undefined) return right;
  return worstFirst.indexOf(left.kind) <= worstFirst.indexOf(right.kind) ? left : right;
}

/** What can be said of a value that was known to hold `had`, to somebody who needs `needed`. */
export function knownBy(had: Evidence, needed: Evidence): Known {
  if (needed.size === 0) return unknown;
  const coverage: Coverage = coversEvidence(had, needed);
  if (coverage === 'covered') return { kind: 'fresh' };
  return coverage === 'behind' ? { kind: 'stale', by: [] } : { kind: 'incomparable', by: [] };
}
