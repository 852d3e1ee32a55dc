import type { SourceSupports } from '../../ports/source.ts';

/** What PostgreSQL can do as a source of facts. */
export const sourceSupports: {
  readonly beforeImages: true;
  readonly foreignWrites: true;
  readonly transactionBoundaries: 'each';
  readonly exactSnapshot: true;
} & SourceSupports = {
  // REPLICA IDENTITY FULL, which prepare() sets; a row without one is `reread`.
  beforeImages: true,
  foreignWrites: true,
  transactionBoundaries: 'each',
  exactSnapshot: true,
};
