import type { Position } from '../core/position.ts';

/**
 * How long a tombstone is kept at least. By the time it is forgotten, everything older has been applied by
 * this flow; what could still come is a write of a worker that was paused with it in hand (a suspended
 * machine, say) at a target without transactions. It has until then to wake and be refused.
 */
const RETENTION_MS = 15 * 60_000;
/** How finely the horizon moves: one mark, one pruning. */
const MARK_EVERY_MS = 60_000;

/** Decides up to where the tombstones of a target may be forgotten. Pure: the caller says what time it is. */
export class TombstoneHorizon {
  readonly #marks: { readonly atMs: number; readonly through: Position }[] = [];

  /** `through` is applied in full at `nowMs` (monotonic). Returns the position before which to prune, if it is time. */
  note(nowMs: number, through: Position): Position | undefined {
    const newest = this.#marks.at(-1);
    if (newest !== undefined && nowMs - newest.atMs < MARK_EVERY_MS) return undefined;
    this.#marks.push({ atMs: nowMs, through });
    const [oldest] = this.#marks;
    if (oldest === undefined || nowMs - oldest.atMs < RETENTION_MS) return undefined;
    this.#marks.shift();
    return oldest.through;
  }
}
