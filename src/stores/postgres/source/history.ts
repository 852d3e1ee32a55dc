import { must } from '../../../core/errors.ts';
import type { SourceCursor } from '../../../ports/source.ts';
import type { Database } from '../database.ts';
import { forkOf } from './exported-snapshot.ts';
import { endOffset } from './lsn.ts';

/** Whose log it is, and which of its branches. */
export interface Identity {
  readonly system: string;
  readonly timeline: number;
}

/** The cluster and timeline of the server. The name of a file of its log says the timeline of now, not of the last checkpoint. */
export async function readIdentity(database: Database): Promise<Identity> {
  const rows = await database.query<{ system: string; file: string }>(
    `SELECT system_identifier::text AS system, pg_walfile_name(pg_current_wal_lsn()) AS file
     FROM pg_catalog.pg_control_system()`,
  );
  const { system, file } = must(rows[0], 'the identity of the server');
  return { system, timeline: Number.parseInt(file.slice(0, 8), 16) };
}

/**
 * The last offset of `before` that `present` has too, if that is everything up to `cursor`: the same cluster and the
 * same slot, on a later timeline that left the earlier one after the cursor. Undefined if it is not certain.
 */
export async function continuesHistory(
  database: Database,
  before: string,
  present: string,
  cursor: SourceCursor,
): Promise<number | undefined> {
  const old = parse(before);
  const now = parse(present);
  if (old === undefined || now === undefined) return undefined;
  if (old.system !== now.system || old.slot !== now.slot || now.timeline <= old.timeline)
    return undefined;
  const fork = await forkOf(database, now.timeline, old.timeline);
  if (fork === undefined) return undefined;
  const upTo = endOffset(fork);
  return upTo >= cursor.offset ? upTo : undefined;
}

function parse(history: string): (Identity & { readonly slot: string }) | undefined {
  const match = /^(\d+)\/(\d+)\/(.+)$/.exec(history);
  if (match === null) return undefined;
  const [, system = '', timeline, slot = ''] = match;
  return { system, timeline: Number(timeline), slot };
}
