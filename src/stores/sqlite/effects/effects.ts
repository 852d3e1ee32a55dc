import type { DatabaseSync } from 'node:sqlite';
import { decodeValue, encodeValue } from '../../../core/codec.ts';
import { checkNumber, checkOptions } from '../../../core/options.ts';
import type { Value } from '../../../core/row.ts';
import { point } from '../../../observe/point.ts';
import type { Clock } from '../../../ports/clock.ts';
import {
  checkDoOptions,
  checkEffectKey,
  checkResult,
  EFFECT_RESULT_BYTES_MAX,
  type DoOptions,
  type DoOutcome,
  type EffectKey,
  type Effects,
  type EffectState,
  type EffectsSupports,
  type HeldLock,
  type UndoOutcome,
} from '../../../ports/effects.ts';
import type { Connection } from '../connection.ts';
import type { SqliteSource } from '../source/source.ts';
import { grant, read, readOf, release, releaseOf } from './locks.ts';

/** What an effect does, in its transaction; what it returns is kept with the marker. Leaves COMMIT to others. */
export type SqliteWork = (tx: DatabaseSync) => Value | undefined | Promise<Value | undefined>;
/** What takes an effect back, in its transaction; it gets the result of the effect. */
export type SqliteUndo = (tx: DatabaseSync, result: Value) => void | Promise<void>;

/** Effects whose marker is a row of the same file, in the same transaction. */
export interface SqliteEffects extends Effects<SqliteWork, SqliteUndo> {
  /**
   * {@link Effects.do} in a transaction that is already open: for `app.write`, which takes its evidence. If the
   * transaction is rolled back, nothing was done. A refusal (`locked`, `undone`, …) leaves it as it was.
   */
  doWithin(
    tx: DatabaseSync,
    key: EffectKey,
    work: SqliteWork,
    options?: DoOptions,
  ): Promise<DoOutcome>;
  /** {@link Effects.undo} in a transaction that is already open. */
  undoWithin(tx: DatabaseSync, key: EffectKey, work: SqliteUndo): Promise<UndoOutcome>;
}

/** Markers removed by one call, if not said otherwise: some milliseconds of write lock. */
const PRUNE_MAX = 1_000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS _tally_effects
    (id TEXT PRIMARY KEY, started_at_ms INTEGER NOT NULL, state TEXT NOT NULL, result TEXT) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS _tally_effects_age ON _tally_effects (started_at_ms);
  CREATE TABLE IF NOT EXISTS _tally_effect_settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS _tally_effect_locks
    (resource TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL,
     effect TEXT NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS _tally_effect_locks_effect ON _tally_effect_locks (effect);
`;
const THERE = `SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = '_tally_effect_locks_effect'`;

export interface EffectsParts {
  readonly connection: Connection;
  readonly source: SqliteSource;
  readonly clock: Clock;
  readonly retentionMs: number;
}

/** The effects of an SQLite file. Its tables are made at the first effect. */
export function openEffects(parts: EffectsParts): SqliteEffects {
  return new FileEffects(parts);
}

class FileEffects implements SqliteEffects {
  readonly supports: EffectsSupports;
  readonly #parts: EffectsParts;

  constructor(parts: EffectsParts) {
    this.#parts = parts;
    this.supports = {
      unit: 'transaction',
      locks: true,
      resultBytesMax: EFFECT_RESULT_BYTES_MAX,
      retentionMs: parts.retentionMs,
    };
  }

  async do(key: EffectKey, work: SqliteWork, options: DoOptions = {}): Promise<DoOutcome> {
    check(key, options);
    point('effects.before-effect');
    const { value, offset } = await this.#parts.source.write(async (tx) => {
      const outcome = await this.doWithin(tx, key, work, options);
      point('effects.before-commit');
      return outcome;
    });
    point('effects.after-effect-before-answer');
    return value.kind === 'done' ? { ...value, offset } : value;
  }

  async undo(key: EffectKey, work: SqliteUndo): Promise<UndoOutcome> {
    check(key);
    point('effects.before-effect');
    const { value, offset } = await this.#parts.source.write(async (tx) => {
      const outcome = await this.undoWithin(tx, key, work);
      point('effects.before-commit');
      return outcome;
    });
    point('effects.after-effect-before-answer');
    return value.kind === 'undone' ? { ...value, offset } : value;
  }

  async doWithin(
    tx: DatabaseSync,
    key: EffectKey,
    work: SqliteWork,
    options: DoOptions = {},
  ): Promise<DoOutcome> {
    check(key, options);
    const nowMs = this.#parts.clock.nowMs();
    const state = this.#look(tx, key);
    switch (state.kind) {
      case 'done': {
        const lock = readOf(tx, key, nowMs);
        return { kind: 'again', result: state.result, ...(lock && { lock }) };
      }
      case 'undone':
      case 'forgotten':
        return { kind: state.kind };
      case 'absent':
        break;
    }
    ensure(tx);
    const granted = options.lock && grant(tx, key, options.lock, nowMs);
    if (granted !== undefined && granted.kind !== 'held') return granted;
    const result = (await work(tx)) ?? null;
    const text = encodeValue(result);
    checkResult(text);
    insert(tx, key, 'done', text);
    if (options.unlock !== undefined) release(tx, options.unlock);
    return { kind: 'done', result, ...(granted && { lock: granted.lock }) };
  }

  async undoWithin(tx: DatabaseSync, key: EffectKey, work: SqliteUndo): Promise<UndoOutcome> {
    check(key);
    const state = this.#look(tx, key);
    switch (state.kind) {
      case 'undone':
        return { kind: 'again' };
      case 'forgotten':
        return { kind: 'forgotten' };
      case 'absent':
        ensure(tx);
        insert(tx, key, 'undone', null);
        return { kind: 'nothing' };
      case 'done':
        break;
    }
    await work(tx, state.result);
    tx.prepare(`UPDATE _tally_effects SET state = 'undone', result = NULL WHERE id = ?`).run(
      key.id,
    );
    releaseOf(tx, key);
    return { kind: 'undone' };
  }

  async probe(key: EffectKey): Promise<EffectState> {
    check(key);
    const { connection } = this.#parts;
    return connection.exclusive(() => connection.read(() => this.#look(connection.database, key)));
  }

  async holder(resource: string): Promise<HeldLock | undefined> {
    const { connection, clock } = this.#parts;
    return connection.exclusive(() =>
      connection.read(() =>
        isThere(connection.database)
          ? read(connection.database, resource, clock.nowMs())
          : undefined,
      ),
    );
  }

  async prune(
    options: { readonly beforeMs?: number; readonly limit?: number } = {},
  ): Promise<number> {
    checkOptions(options, ['beforeMs', 'limit'], 'prune');
    const { connection, clock } = this.#parts;
    const {
      beforeMs = Math.max(0, Math.floor(clock.nowMs() - this.supports.retentionMs)),
      limit = PRUNE_MAX,
    } = options;
    checkNumber(beforeMs, 'prune.beforeMs', { min: 0, integer: true });
    checkNumber(limit, 'prune.limit', { min: 1, integer: true });
    return connection.exclusive(() => {
      if (!isThere(connection.database)) return 0;
      const old = connection.prepare(
        'SELECT 1 FROM _tally_effects WHERE started_at_ms < ? LIMIT 1',
      );
      if (connection.guard(() => old.get(beforeMs)) === undefined) return 0;
      return connection.transaction(() => {
        // With the first marker that goes: a late do that finds none must find this instead.
        connection
          .prepare(
            `INSERT INTO _tally_effect_settings (name, value) VALUES ('horizon', ?1)
             ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)`,
          )
          .run(beforeMs);
        const { changes } = connection
          .prepare(
            `DELETE FROM _tally_effects WHERE id IN
               (SELECT id FROM _tally_effects WHERE started_at_ms < ? ORDER BY started_at_ms LIMIT ?)`,
          )
          .run(beforeMs, limit);
        return Number(changes);
      });
    });
  }

  #look(tx: DatabaseSync, key: EffectKey): EffectState {
    if (!isThere(tx)) return { kind: 'absent' };
    const row = tx.prepare('SELECT state, result FROM _tally_effects WHERE id = ?').get(key.id);
    if (row === undefined) {
      const horizon = tx
        .prepare(`SELECT value FROM _tally_effect_settings WHERE name = 'horizon'`)
        .get();
      const isOld = horizon !== undefined && key.startedAtMs < Number(horizon['value']);
      return { kind: isOld ? 'forgotten' : 'absent' };
    }
    if (row['state'] === 'undone') return { kind: 'undone' };
    return { kind: 'done', result: decodeValue(String(row['result'])) };
  }
}

function check(key: EffectKey, options: DoOptions = {}): void {
  checkEffectKey(key);
  checkDoOptions(options);
}

function isThere(tx: DatabaseSync): boolean {
  return tx.prepare(THERE).get() !== undefined;
}

function ensure(tx: DatabaseSync): void {
  if (!isThere(tx)) tx.exec(SCHEMA);
}

function insert(
  tx: DatabaseSync,
  { id, startedAtMs }: EffectKey,
  state: 'done' | 'undone',
  result: string | null,
): void {
  tx.prepare(
    'INSERT INTO _tally_effects (id, started_at_ms, state, result) VALUES (?, ?, ?, ?)',
  ).run(id, startedAtMs, state, result);
}
