/** What waiting for a replica came to. */
export type ReplicaFreshness =
  /** What was committed up to the offset is visible to readers of the replica. */
  | { readonly kind: 'fresh' }
  /** The limit passed; `seen` is the offset that readers see. */
  | { readonly kind: 'timeout'; readonly seen: number }
  /** The replica follows another history than the one that was named, or it cannot be said. */
  | { readonly kind: 'incomparable' };

/** A store that is kept the same as another one by the system itself: a physical standby. */
export interface Replica {
  /** The name of the store whose copy this is. */
  readonly of: string;
  /**
   * Waits until `offset` of `history` (as {@link Source.history} names it) is visible here, at most `withinMs`
   * milliseconds; 0 looks once. Aborting ends the wait as the limit does.
   */
  reached(
    history: string,
    offset: number,
    options: { readonly withinMs: number; readonly signal?: AbortSignal },
  ): Promise<ReplicaFreshness>;
}
