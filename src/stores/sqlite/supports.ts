import type { SourceSupports } from '../../ports/source.ts';

/** What SQLite can do as a source of facts. */
export const sourceSupports: {
  readonly beforeImages: true;
  readonly foreignWrites: true;
  readonly transactionBoundaries: 'marked';
  readonly exactSnapshot: true;
} & SourceSupports = {
  beforeImages: true,
  // Triggers stand in the file: whatever program writes, they run in its transaction.
  foreignWrites: true,
  // `write()` marks its end; transactions of other programs between two marks arrive as one.
  transactionBoundaries: 'marked',
  exactSnapshot: true,
};
