import type { Retained } from '../../../ports/source.ts';
import type { Database } from '../database.ts';

/** What a slot without a bound may hold before it is a danger to the disk. */
const UNBOUNDED_BYTES_MAX = 10 * 1024 ** 3;
/** With less than this share of its bound left, a slot is in danger: the other half went the same way. */
const SAFE_SHARE_MIN = 0.5;
const MIB = 1024 ** 2;

/**
 * What the server keeps of its log for a slot, and what threatens: neither a full disk nor a lost slot is to come as
 * a surprise. The server does not count rows, only bytes: those from what was acknowledged on.
 */
export async function readRetained(database: Database, slot: string): Promise<Retained> {
  const [row] = await database.query<{
    bytes: string | null;
    status: string | null;
    safe: string | null;
    keep: string;
  }>(
    `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::text AS bytes, wal_status AS status,
       safe_wal_size::text AS safe,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep
     FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`,
    [slot],
  );
  if (row === undefined)
    return { rows: 0, bytes: 0, risk: `the slot '${slot}' is not there: nothing is kept` };
  const bytes = Math.max(0, Number(row.bytes ?? 0));
  const risk = riskOf(row, bytes);
  return risk === undefined ? { rows: 0, bytes } : { rows: 0, bytes, risk };
}

/** `keep` is max_slot_wal_keep_size in MiB, -1 for no bound; `safe` the bytes until the slot is over it. */
function riskOf(
  { status, safe, keep }: { status: string | null; safe: string | null; keep: string },
  bytes: number,
): string | undefined {
  const keepBytes = Number(keep) * MIB;
  if (status === 'lost') return 'the server has given the slot up: what was not captured is gone';
  if (status === 'unreserved')
    return `the slot holds more than max_slot_wal_keep_size (${keep} MiB): it is lost at one of the next checkpoints`;
  if (safe !== null && Number(safe) < keepBytes * SAFE_SHARE_MIN)
    return `the slot is lost after ${Math.floor(Number(safe) / MIB)} MiB more of log: max_slot_wal_keep_size is ${keep} MiB`;
  return keepBytes < 0 && bytes > UNBOUNDED_BYTES_MAX
    ? 'nothing bounds what the slot keeps until the disk is full: max_slot_wal_keep_size is -1'
    : undefined;
}
