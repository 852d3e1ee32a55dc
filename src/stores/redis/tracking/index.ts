export {
  trackInvalidations,
  type GapReason,
  type InvalidationEvent,
  type InvalidationTracker,
  type TrackOptions,
} from './track-invalidations.ts';
