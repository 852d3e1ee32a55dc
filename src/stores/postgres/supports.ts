import type { LedgerSupports } from '../../ports/ledger.ts';
import type { LogSupports } from '../../ports/log.ts';
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

/** What a ledger in PostgreSQL can do. */
export const ledgerSupports: LedgerSupports = { durable: true, shared: true };

/** What a log in PostgreSQL can do. */
export const logSupports: LogSupports = { durable: true };
