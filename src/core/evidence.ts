import type { Position } from './position.ts';

/**
 * What a write left behind: positions, at most one per (lane, epoch). Immutable. A lane is named
 * by its store (and, where a store has several, its part: `events/3`).
 */
export type Evidence = ReadonlyMap<string, readonly Position[]>;
