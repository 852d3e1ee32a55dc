export { trackInvalidations, type InvalidationEvent } from './track-invalidations.ts';
