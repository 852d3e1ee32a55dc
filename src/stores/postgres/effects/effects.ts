import type pg from 'pg';
import { decodeValue, encodeValue } from '../../../core/codec.ts';
import { isTallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions } from '../../../core/options.ts';
import type { Value } from '../../../core/row.ts';
import { point } from '../../../observe/point.ts';
import {
  checkDoOptions,
  checkEffectKey,
  checkResult,
  EFFECT_RESULT_BYTES_MAX,
  EFFECT_RETENTION_MS,
  type DoOptions,
  type DoOutcome,
  type EffectKey,
  type Effects,
  type EffectState,
  type EffectsSupports,
  type HeldLock,
  type UndoOutcome,
} from '../../../ports/effects.ts';
import type { Committed } from '../../../ports/source.ts';
import { queryable, type Database, type Queryable } from '../database.ts';
import { isConflict } from '../errors.ts';
import type { PostgresSource } from '../source/source.ts';
import { Locks } from './locks.ts';
import { schemaOf, SCHEMA_VERSION } from './schema.ts';

/** What an effect does, in its transaction; what it returns is kept with the marker. Leaves COMMIT to others. */
export type PostgresWork = (tx: pg.PoolClient) => Value | undefined | Promise<Value | undefined>;
/** What takes an effect back, in its transaction; it gets the result of the effect. */
export type PostgresUndo = (tx: pg.PoolClient, result: Value) => void | Promise<void>;

/** Effects whose marker is a row of the same database, in the same transaction. */
export interface PostgresEffects extends Effects<PostgresWork, PostgresUndo> {
  /**
   * {@link Effects.do} in a transaction that is already open: for `app.write`, which takes its evidence. If the
   * transaction is rolled back, nothing was done. A refusal (`locked`, `undone`, …) leaves it as it was.
   */
  doWithin(
    tx: pg.PoolClient,
    key: EffectKey,
    work: PostgresWork,
    options?: DoOptions,
  ): Promise<DoOutcome>;
  /** {@link Effects.undo} in a transaction that is already open. */
  undoWithin(tx: pg.PoolClient, key: EffectKey, work: PostgresUndo): Promise<UndoOutcome>;
}

/** What the effects of PostgreSQL can do, unless its store is told otherwise. */
export const effectsSupports: EffectsSupports = {
  unit: 'transaction',
  locks: true,
  resultBytesMax: EFFECT_RESULT_BYTES_MAX,
  retentionMs: EFFECT_RETENTION_MS,
};

/** Markers removed by one call, if not said otherwise: some milliseconds. */
const PRUNE_MAX = 1_000;
/** Transactions of one call that meet others (deadlocks, serialization failures) until the caller is told. */
const ATTEMPTS_MAX = 8;

export interface EffectsParts {
  readonly database: Database;
  readonly source: Pick<PostgresSource, 'write'>;
  readonly retentionMs: number;
}

/** The effects of a PostgreSQL database. Its tables are made at the first effect. */
export function openEffects(parts: EffectsParts): PostgresEffects {
  return new DatabaseEffects(parts);
}

class DatabaseEffects implements PostgresEffects {
  readonly supports: EffectsSupports;
  readonly #database: Database;
  readonly #source: EffectsParts['source'];
  readonly #locks: Locks;
  readonly #markers: string;
  readonly #horizon: string;

  constructor({ database, source, retentionMs }: EffectsParts) {
    this.supports = { ...effectsSupports, retentionMs };
    this.#database = database;
    this.#source = source;
    this.#locks = new Locks(database.schema);
    this.#markers = `${database.schema}.effect`;
    this.#horizon = `${database.schema}.effect_horizon`;
  }

  async do(key: EffectKey, work: PostgresWork, options: DoOptions = {}): Promise<DoOutcome> {
    const { value, offset } = await this.#write((tx) => this.doWithin(tx, key, work, options));
    return value.kind === 'done' ? { ...value, offset } : value;
  }

  async undo(key: EffectKey, work: PostgresUndo): Promise<UndoOutcome> {
    const { value, offset } = await this.#write((tx) => this.undoWithin(tx, key, work));
    return value.kind === 'undone' ? { ...value, offset } : value;
  }

  async doWithin(
    client: pg.PoolClient,
    key: EffectKey,
    work: PostgresWork,
    options: DoOptions = {},
  ): Promise<DoOutcome> {
    checkEffectKey(key);
    checkDoOptions(options);
    await this.#prepare();
    const tx = queryable(client, this.#database.where);
    const nowMs = Math.floor(this.#database.clock.nowMs());
    const before = await this.#mark(tx, key, 'done');
    switch (before.kind) {
      case 'done': {
        const lock = await this.#locks.readOf(tx, key, nowMs);
        return { kind: 'again', result: before.result, ...(lock && { lock }) };
      }
      case 'undone':
      case 'forgotten':
        return { kind: before.kind };
      case 'absent':
        break;
    }
    const granted = options.lock && (await this.#locks.grant(tx, key, options.lock, nowMs));
    if (granted !== undefined && granted.kind !== 'held') {
      await this.#unmark(tx, key);
      return granted;
    }
    const result = (await work(client)) ?? null;
    const text = encodeValue(result);
    checkResult(text);
    await tx.run(`UPDATE ${this.#markers} SET result = $2 WHERE id = $1`, [key.id, text]);
    if (options.unlock !== undefined) await this.#locks.release(tx, options.unlock);
    return { kind: 'done', result, ...(granted && { lock: granted.lock }) };
  }

  async undoWithin(
    client: pg.PoolClient,
    key: EffectKey,
    work: PostgresUndo,
  ): Promise<UndoOutcome> {
    checkEffectKey(key);
    await this.#prepare();
    const tx = queryable(client, this.#database.where);
    const before = await this.#mark(tx, key, 'undone');
    switch (before.kind) {
      case 'undone':
        return { kind: 'again' };
      case 'forgotten':
        return { kind: 'forgotten' };
      case 'absent':
        return { kind: 'nothing' };
      case 'done':
        break;
    }
    await work(client, before.result);
    await tx.run(`UPDATE ${this.#markers} SET state = 'undone', result = NULL WHERE id = $1`, [
      key.id,
    ]);
    await this.#locks.releaseOf(tx, key);
    return { kind: 'undone' };
  }

  async probe(key: EffectKey): Promise<EffectState> {
    checkEffectKey(key);
    await this.#prepare();
    return this.#look(this.#database, key);
  }

  async holder(resource: string): Promise<HeldLock | undefined> {
    await this.#prepare();
    return this.#locks.read(this.#database, resource, Math.floor(this.#database.clock.nowMs()));
  }

  async prune(
    options: { readonly beforeMs?: number; readonly limit?: number } = {},
  ): Promise<number> {
    checkOptions(options, ['beforeMs', 'limit'], 'prune');
    const nowMs = this.#database.clock.nowMs();
    const { beforeMs = Math.max(0, Math.floor(nowMs - this.supports.retentionMs)) } = options;
    const { limit = PRUNE_MAX } = options;
    checkNumber(beforeMs, 'prune.beforeMs', { min: 0, integer: true });
    checkNumber(limit, 'prune.limit', { min: 1, integer: true });
    const [there] = await this.#database.query(`SELECT 1 WHERE to_regclass($1) IS NOT NULL`, [
      this.#markers,
    ]);
    if (there === undefined) return 0;
    const old = `SELECT id FROM ${this.#markers} WHERE started_at_ms < $1`;
    if ((await this.#database.query(`${old} LIMIT 1`, [beforeMs])).length === 0) return 0;
    return this.#database.transaction(async (tx) => {
      // With the first marker that goes: a late do that finds none must find this instead.
      await tx.run(`UPDATE ${this.#horizon} SET before_ms = $1 WHERE before_ms < $1`, [beforeMs]);
      const { count } = await tx.run(
        `DELETE FROM ${this.#markers} WHERE id IN (
           ${old} ORDER BY started_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)`,
        [beforeMs, limit],
      );
      return count;
    });
  }

  /**
   * A transaction of its own, with evidence. What met another transaction is begun again, and so is one whose COMMIT got
   * no answer: its own marker says what became of it.
   */
  async #write<Result>(work: (tx: pg.PoolClient) => Promise<Result>): Promise<Committed<Result>> {
    await this.#prepare();
    point('effects.before-effect');
    for (let attempt = 1; ; attempt += 1) {
      try {
        const committed = await this.#source.write(async (tx) => {
          const outcome = await work(tx);
          point('effects.before-commit');
          return outcome;
        });
        point('effects.after-effect-before-answer');
        return committed;
      } catch (error) {
        const mayRepeat = isConflict(error) || isTallyError(error, 'COMMIT_UNKNOWN');
        if (!mayRepeat || attempt === ATTEMPTS_MAX) throw error;
      }
    }
  }

  /**
   * Leaves a marker, unless there is one: then says what it is. Whoever leaves it first makes others wait at it until
   * the transaction has ended. The marker comes before the look at the horizon: 1. a do finds no marker, since it is
   * being pruned  2. the horizon moves  3. the do leaves its marker: only now may it look whether it is too old.
   */
  async #mark(tx: Queryable, key: EffectKey, state: 'done' | 'undone'): Promise<EffectState> {
    const [marked] = await tx.query<{ isolation: string }>(
      `INSERT INTO ${this.#markers} (id, started_at_ms, state) VALUES ($1, $2, $3)
       ON CONFLICT (id) DO NOTHING RETURNING current_setting('transaction_isolation') AS isolation`,
      [key.id, key.startedAtMs, state],
    );
    if (marked === undefined) {
      const there = await this.#look(tx, key, 'lock');
      // Pruned between the two statements: there is none any more, so the next INSERT leaves one.
      return there.kind === 'absent' ? this.#mark(tx, key, state) : there;
    }
    // In a snapshot the row may be an old one: locking it then fails, and the transaction is begun again.
    const isFresh = marked.isolation === 'read committed';
    if (!(await this.#isOld(tx, key, isFresh ? '' : 'FOR SHARE'))) return { kind: 'absent' };
    await this.#unmark(tx, key);
    return { kind: 'forgotten' };
  }

  async #unmark(tx: Queryable, key: EffectKey): Promise<void> {
    await tx.run(`DELETE FROM ${this.#markers} WHERE id = $1`, [key.id]);
  }

  async #look(on: Queryable, key: EffectKey, mode: 'read' | 'lock' = 'read'): Promise<EffectState> {
    // Locked, so that two undos of one effect come one after the other.
    const [row] = await on.query<{ state: string; result: string | null }>(
      `SELECT state, result FROM ${this.#markers} WHERE id = $1 ${mode === 'lock' ? 'FOR UPDATE' : ''}`,
      [key.id],
    );
    if (row === undefined) return { kind: (await this.#isOld(on, key)) ? 'forgotten' : 'absent' };
    if (row.state === 'undone') return { kind: 'undone' };
    return { kind: 'done', result: decodeValue(row.result ?? 'null') };
  }

  async #isOld(on: Queryable, key: EffectKey, lock: '' | 'FOR SHARE' = ''): Promise<boolean> {
    const [row] = await on.query<{ before: number }>(
      `SELECT before_ms AS before FROM ${this.#horizon} ${lock}`,
    );
    return row !== undefined && key.startedAtMs < row.before;
  }

  async #prepare(): Promise<void> {
    await this.#database.ensure('effects', SCHEMA_VERSION, schemaOf(this.#database.schema));
  }
}
