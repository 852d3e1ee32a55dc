import { Histogram } from '../../observe/histogram.ts';
import type { CacheStats } from './events.ts';

/** Counts what one cache does. */
export class CacheMeter {
  near = 0;
  shared = 0;
  misses = 0;
  loads = 0;
  loadsFailed = 0;
  loadsShed = 0;
  early = 0;
  stale = 0;
  heldBack = 0;
  voided = 0;
  older = 0;
  invalidations = 0;
  told = 0;
  bypassed = 0;
  readonly loadMs: Histogram = new Histogram();
  readonly ageMs: Histogram = new Histogram();

  counts(): Omit<
    CacheStats,
    'name' | 'pending' | 'sharedState' | 'watching' | 'nearEntries' | 'loading' | 'queued'
  > {
    return {
      hits: { near: this.near, shared: this.shared },
      misses: this.misses,
      loads: this.loads,
      loadsFailed: this.loadsFailed,
      loadsShed: this.loadsShed,
      early: this.early,
      stale: this.stale,
      heldBack: this.heldBack,
      voided: this.voided,
      older: this.older,
      invalidations: this.invalidations,
      told: this.told,
      bypassed: this.bypassed,
      loadMs: this.loadMs.percentiles(),
      ageMs: this.ageMs.percentiles(),
    };
  }
}
