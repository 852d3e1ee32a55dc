/** The boundaries between the owner and the other stores, by the names of their flows. */
export const boundaries = [
  'productSearch',
  'stock',
  'recentOrders',
  'eventStream',
  'boughtTogether',
  'salesMetrics',
  'salesReports',
  'receipts',
] as const;

export type Boundary = (typeof boundaries)[number];

/** A row, reduced to two texts that can be compared. */
export type Entry = readonly [key: string, content: string];

/** What was found at a boundary. */
export interface Drift {
  /** Rows that the target should hold. */
  readonly checked: number;
  /** Rows that the target should hold, and does not. */
  readonly lost: number;
  /** Rows that the target holds, and should not: also a second one of the same key. */
  readonly extra: number;
  /** Rows that differ from what they should be. */
  readonly stale: number;
  /** The first few of them, for a person to look at. */
  readonly examples: readonly string[];
}
