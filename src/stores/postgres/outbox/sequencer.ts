import { must } from '../../../core/errors.ts';
import { literal, type Database } from '../database.ts';
import { isConflict } from '../errors.ts';

/** Rows that one transaction numbers: it is short, and holds up nobody who only inserts. */
const ALLOT_ROWS = 10_000;
/** A transaction that placed more messages than that is numbered as a whole all the same. */
const ALLOT_GROWTH = 8;
const CONFLICTS_MAX = 10;

interface Seen {
  readonly newest: number;
  readonly fresh: boolean;
  /** Where a batch ends, if there is more than one. */
  readonly cutoff: number | null;
}

/**
 * Allots numbers without gaps to the messages of transactions that have committed. Any process may do it: the row of
 * the outbox in `outboxes` is locked from before the messages are looked for until their numbers are committed.
 *
 * The order of `ord` (and that of transaction ids) is not the order of commits: a late committer has a small one. A
 * reader that remembered the greatest it had seen would skip it. Here nothing is remembered: what has no number yet
 * and is visible gets one, however late it comes.
 *
 * Order within a key, if its writers lock a row of it first (an UPDATE of the order, say) and then place the message:
 * the second has its `ord` after the first has committed. So whoever sees the second sees the first, which has a
 * number already or gets one in the same batch; within a batch transactions are ordered by their last `ord`, and all
 * of the first's are before the second's message.
 */
export class Sequencer {
  readonly #database: Database;
  readonly #table: string;
  readonly #name: string;
  #running: Promise<number> | undefined;
  #queued: Promise<number> | undefined;

  /** `table` as SQL, `name` as in `outboxes`. */
  constructor(database: Database, table: string, name: string) {
    this.#database = database;
    this.#table = table;
    this.#name = name;
  }

  /**
   * Numbers everything that was committed before the call; returns the newest number. Callers at the same time share
   * the next round, not the present one, which may have looked before they committed.
   */
  sequence(): Promise<number> {
    if (this.#running === undefined) {
      this.#running = this.#rounds().finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    this.#queued ??= this.#running
      .catch(() => 0)
      .then(() => {
        this.#queued = undefined;
        return this.sequence();
      });
    return this.#queued;
  }

  async #rounds(): Promise<number> {
    let limit = ALLOT_ROWS;
    for (;;) {
      const { newest, fresh, cutoff } = await this.#look(limit);
      // One snapshot: if nothing that it sees lacks a number, all numbers that it has to know are below `newest`.
      if (!fresh) return newest;
      const then = await this.#allot(cutoff);
      if (cutoff === null) return then;
      if (then === newest) limit *= ALLOT_GROWTH;
    }
  }

  async #look(limit: number): Promise<Seen> {
    const [row] = await this.#database.query<Seen>(
      `SELECT s.next - 1 AS newest, EXISTS (SELECT FROM ${this.#table} WHERE seq IS NULL) AS fresh,
         (SELECT ord FROM ${this.#table} WHERE seq IS NULL ORDER BY ord OFFSET $2 LIMIT 1) AS cutoff
       FROM ${this.#database.schema}.outboxes s WHERE s.name = $1`,
      [this.#name, limit],
    );
    return must(row, `the record of the outbox ${this.#name}`);
  }

  /**
   * One message, which is one transaction; each statement has a snapshot of its own, so the second sees what was
   * committed while the first waited for the lock.
   */
  async #allot(cutoff: number | null): Promise<number> {
    const outboxes = `${this.#database.schema}.outboxes`;
    const name = literal(this.#name);
    // Transactions that reach past the cutoff wait for the next round: they are numbered as a whole.
    const bound =
      cutoff === null
        ? ''
        : `AND o.ord < ${cutoff} AND NOT EXISTS (SELECT FROM ${this.#table} l
             WHERE l.seq IS NULL AND l.xact = o.xact AND l.ord >= ${cutoff})`;
    const text = `
      SELECT FROM ${outboxes} WHERE name = ${name} FOR UPDATE;
      WITH locked AS MATERIALIZED (
        SELECT id, ord, xact FROM ${this.#table} o WHERE o.seq IS NULL ${bound} FOR UPDATE OF o),
      ordered AS (
        SELECT id, row_number() OVER (ORDER BY last, ord) - 1 AS place
        FROM (SELECT id, ord, max(ord) OVER (PARTITION BY xact) AS last FROM locked) AS whole),
      numbered AS (
        UPDATE ${this.#table} o SET seq = s.next + ordered.place
        FROM ordered, ${outboxes} s WHERE o.id = ordered.id AND s.name = ${name} RETURNING 1)
      UPDATE ${outboxes} SET next = next + (SELECT count(*) FROM numbered) WHERE name = ${name};
      SELECT next - 1 FROM ${outboxes} WHERE name = ${name}`;
    for (let attempt = 1; ; attempt++) {
      try {
        const { rows } = await this.#database.run(text);
        return Number(rows[0]?.[0]);
      } catch (error) {
        // Only where the server's default isolation is stricter than read committed.
        if (!isConflict(causeOf(error)) || attempt === CONFLICTS_MAX) throw error;
      }
    }
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? (error.cause ?? error) : error;
}
