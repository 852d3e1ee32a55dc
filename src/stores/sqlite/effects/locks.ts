import type { DatabaseSync } from 'node:sqlite';
import type { EffectKey, HeldLock, LockRequest } from '../../../ports/effects.ts';

/** What became of a request for a lock, in the transaction of the effect. */
export type Granted =
  | { readonly kind: 'held'; readonly lock: HeldLock }
  | { readonly kind: 'locked'; readonly lock: HeldLock }
  | { readonly kind: 'fenced' };

interface LockRow {
  readonly owner: string;
  readonly token: number;
  readonly expires_at_ms: number;
}

/**
 * Takes a lock, or prolongs that of the same owner. A lock that was lost, though nobody has taken it since, is not
 * prolonged under its token: what was read under it may have changed.
 */
export function grant(
  tx: DatabaseSync,
  key: EffectKey,
  { resource, owner, ttlMs, token }: LockRequest,
  nowMs: number,
): Granted {
  const present = read(tx, resource, nowMs);
  if (token !== undefined && (present?.owner !== owner || present.token !== token))
    return { kind: 'fenced' };
  if (present !== undefined && present.owner !== owner) return { kind: 'locked', lock: present };
  const expiresAtMs = nowMs + ttlMs;
  if (present !== undefined) {
    const longer = Math.max(present.expiresAtMs, expiresAtMs);
    tx.prepare('UPDATE _tally_effect_locks SET expires_at_ms = ? WHERE resource = ?').run(
      longer,
      resource,
    );
    return { kind: 'held', lock: { ...present, expiresAtMs: longer } };
  }
  // One counter for all: a number that came back would let an older holder pass for a newer.
  const counted = tx
    .prepare(
      `INSERT INTO _tally_effect_settings (name, value) VALUES ('token', 1)
       ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value`,
    )
    .get();
  const next = Number(counted?.['value']);
  tx.prepare(
    `INSERT OR REPLACE INTO _tally_effect_locks (resource, owner, token, expires_at_ms, effect)
     VALUES (?, ?, ?, ?, ?)`,
  ).run(resource, owner, next, expiresAtMs, key.id);
  return { kind: 'held', lock: { resource, owner, token: next, expiresAtMs } };
}

/** The lock that is held at this moment. */
export function read(tx: DatabaseSync, resource: string, nowMs: number): HeldLock | undefined {
  const row = tx
    .prepare(
      `SELECT owner, token, expires_at_ms FROM _tally_effect_locks
       WHERE resource = ? AND expires_at_ms > ?`,
    )
    .get(resource, nowMs) as unknown as LockRow | undefined;
  return row && { resource, owner: row.owner, token: row.token, expiresAtMs: row.expires_at_ms };
}

/** The lock that this effect took, if it is still held. */
export function readOf(tx: DatabaseSync, key: EffectKey, nowMs: number): HeldLock | undefined {
  const row = tx.prepare('SELECT resource FROM _tally_effect_locks WHERE effect = ?').get(key.id);
  return row && read(tx, String(row['resource']), nowMs);
}

export function release(
  tx: DatabaseSync,
  { resource, owner }: { readonly resource: string; readonly owner: string },
): void {
  tx.prepare('DELETE FROM _tally_effect_locks WHERE resource = ? AND owner = ?').run(
    resource,
    owner,
  );
}

/** Releases what this effect took; what somebody else has taken since names another effect. */
export function releaseOf(tx: DatabaseSync, key: EffectKey): void {
  tx.prepare('DELETE FROM _tally_effect_locks WHERE effect = ?').run(key.id);
}
