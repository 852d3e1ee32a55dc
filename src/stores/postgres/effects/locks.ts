import type { EffectKey, HeldLock, LockRequest } from '../../../ports/effects.ts';
import type { Queryable } from '../database.ts';

/** What became of a request for a lock, in the transaction of the effect. */
export type Granted =
  | { readonly kind: 'held'; readonly lock: HeldLock }
  | { readonly kind: 'locked'; readonly lock: HeldLock }
  | { readonly kind: 'fenced' };

interface LockRow {
  readonly owner: string;
  readonly token: number;
  readonly expiresAtMs: number;
}

const COLUMNS = 'owner, token, expires_at_ms AS "expiresAtMs"';

/** The locks in the coordinator's schema, as the effects' transactions take and release them. */
export class Locks {
  readonly #table: string;
  readonly #token: string;

  constructor(schema: string) {
    this.#table = `${schema}.effect_lock`;
    this.#token = `nextval('${schema}.effect_lock_token')`;
  }

  /**
   * Takes a lock, or prolongs that of the same owner. A lock that was lost, though nobody has taken it since, is not
   * prolonged under its token: what was read under it may have changed.
   */
  async grant(
    tx: Queryable,
    key: EffectKey,
    request: LockRequest,
    nowMs: number,
  ): Promise<Granted> {
    const { resource, owner, ttlMs, token } = request;
    if (token !== undefined) {
      const [row] = await tx.query<LockRow>(
        `UPDATE ${this.#table} SET expires_at_ms = greatest(expires_at_ms, $4)
         WHERE resource = $1 AND owner = $2 AND token = $3 AND expires_at_ms > $5 RETURNING ${COLUMNS}`,
        [resource, owner, token, nowMs + ttlMs, nowMs],
      );
      return row === undefined ? { kind: 'fenced' } : { kind: 'held', lock: { resource, ...row } };
    }
    const isMine = 'l.owner = excluded.owner AND l.expires_at_ms > $5';
    const [row] = await tx.query<LockRow>(
      `INSERT INTO ${this.#table} AS l (resource, owner, token, expires_at_ms, effect)
       VALUES ($1, $2, ${this.#token}, $3, $4)
       ON CONFLICT (resource) DO UPDATE SET owner = excluded.owner,
         token = CASE WHEN ${isMine} THEN l.token ELSE excluded.token END,
         effect = CASE WHEN ${isMine} THEN l.effect ELSE excluded.effect END,
         expires_at_ms = CASE WHEN ${isMine} THEN greatest(l.expires_at_ms, $3) ELSE $3 END
       WHERE l.owner = excluded.owner OR l.expires_at_ms <= $5 RETURNING ${COLUMNS}`,
      [resource, owner, nowMs + ttlMs, key.id, nowMs],
    );
    if (row !== undefined) return { kind: 'held', lock: { resource, ...row } };
    const lock = await this.read(tx, resource, nowMs);
    // Released between the two statements: then the next attempt gets it.
    return {
      kind: 'locked',
      lock: lock ?? { resource, owner: '', token: 0, expiresAtMs: nowMs },
    };
  }

  /** The lock that is held at this moment. */
  async read(on: Queryable, resource: string, nowMs: number): Promise<HeldLock | undefined> {
    const [row] = await on.query<LockRow>(
      `SELECT ${COLUMNS} FROM ${this.#table} WHERE resource = $1 AND expires_at_ms > $2`,
      [resource, nowMs],
    );
    return row && { resource, ...row };
  }

  /** The lock that this effect took, if it is still held. */
  async readOf(on: Queryable, key: EffectKey, nowMs: number): Promise<HeldLock | undefined> {
    const [row] = await on.query<LockRow & { readonly resource: string }>(
      `SELECT resource, ${COLUMNS} FROM ${this.#table} WHERE effect = $1 AND expires_at_ms > $2`,
      [key.id, nowMs],
    );
    return row;
  }

  async release(
    tx: Queryable,
    { resource, owner }: { readonly resource: string; readonly owner: string },
  ): Promise<void> {
    await tx.run(`DELETE FROM ${this.#table} WHERE resource = $1 AND owner = $2`, [
      resource,
      owner,
    ]);
  }

  /** Releases what this effect took; what somebody else has taken since names another effect. */
  async releaseOf(tx: Queryable, key: EffectKey): Promise<void> {
    await tx.run(`DELETE FROM ${this.#table} WHERE effect = $1`, [key.id]);
  }
}
