import { TallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import { rollBack, type Database, type Session } from '../database.ts';
import { isConnectionLost, postgresError } from '../errors.ts';
import { ownTypes } from '../types.ts';
import { isRowError } from './refusal.ts';
import type { Bound } from './writer.ts';

/**
 * Set once per connection, so that texts mean the same whatever the defaults of the server. A worker that stops dead
 * within a transaction holds the lock of its flow: the server ends it, so that the next worker waits no longer. Every
 * batch is planned for what the tables have become: a plan that was kept from when they were empty reads them whole.
 */
const SETTINGS = `SET datestyle = 'ISO'; SET timezone = 'UTC'; SET idle_in_transaction_session_timeout = '30s';
  SET plan_cache_mode = force_custom_plan`;

/**
 * How long a batch waits for an answer: longer than the lock of a dead worker is held, shorter than TCP needs to find
 * out that nobody is there any more.
 */
export const ANSWER_MS = 120_000;

type Rows = readonly (readonly unknown[])[];

/** The driver's client, asked with more than its types know. */
interface Asking {
  query(config: unknown): Promise<Answer>;
}

interface Answer {
  readonly rows: Rows;
  readonly rowCount: number | null;
}

/** Statements of one transaction. */
export interface Tx {
  /** The rows of one statement. */
  query(text: string, values?: readonly unknown[]): Promise<Rows>;
  /** Prepares a statement once per connection, runs it, and says how many rows it touched. */
  execute(
    bound: Bound | { readonly text: string; readonly values: readonly unknown[] },
  ): Promise<number>;
  /** Several statements in one message. */
  script(text: string): Promise<void>;
}

/** What was refused when it was to be committed: a constraint that is checked only then. */
export class CommitRefused extends Error {
  constructor(cause: unknown) {
    super('the transaction was refused at its end', { cause });
  }
}

/**
 * One connection outside of the pool, made when it is needed and again after it was lost. Its transactions see what
 * others commit while they wait for a lock (READ COMMITTED), whatever the default of the server: the checkpoint that
 * is read after the lock must be the one that was committed before it was given up.
 */
export class WriterConnection {
  readonly #database: Database;
  readonly #names = new Map<string, string>();
  #session: Session | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Runs `first` and `work` between BEGIN and COMMIT; if it throws, or `keep` says no to its result, everything is
   * rolled back. Throws COMMIT_UNKNOWN if the connection ended during COMMIT, {@link CommitRefused}, failures of the
   * store as TallyError, and what `work` throws.
   */
  async transaction<Result>(
    first: string,
    work: (tx: Tx, firstRows: readonly Rows[]) => Promise<Result>,
    how: { readonly keep?: (result: Result) => boolean; readonly answerMs?: number } = {},
  ): Promise<Result> {
    const { keep, answerMs } = how;
    try {
      const { client, firstRows } = await this.#begin(first, answerMs);
      const result = await work(this.#tx(client, answerMs), firstRows);
      if (keep !== undefined && !keep(result)) await this.#rollBack();
      else await this.#commit(client, answerMs);
      return result;
    } catch (error) {
      if (isConnectionLost(error)) await this.close();
      else await this.#rollBack();
      throw error;
    }
  }

  /** One statement outside of a transaction. */
  async read(text: string, values: readonly unknown[]): Promise<Rows> {
    const { client } = (this.#session ??= await this.#connect());
    try {
      const config = { text, values: [...values], name: this.#nameOf(text) };
      return (await this.#ask(client, ANSWER_MS, config)).rows;
    } catch (error) {
      if (isConnectionLost(error)) await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  async #connect(): Promise<Session> {
    const session = await this.#database.connect();
    try {
      await session.run(SETTINGS);
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** On a new connection if the one that was kept has broken meanwhile: nothing was done on it yet. */
  async #begin(
    first: string,
    answerMs: number | undefined,
  ): Promise<{ readonly client: Session['client']; readonly firstRows: readonly Rows[] }> {
    const kept = this.#session !== undefined;
    const { client } = (this.#session ??= await this.#connect());
    try {
      const begun = await this.#ask(client, answerMs, {
        text: `BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; ${first}`,
      });
      const firstRows = (begun as unknown as readonly Answer[]).slice(1).map(({ rows }) => rows);
      return { client, firstRows };
    } catch (error) {
      if (!kept || !isConnectionLost(error)) throw error;
      await this.close();
      return this.#begin(first, answerMs);
    }
  }

  async #commit(client: Session['client'], answerMs: number | undefined): Promise<void> {
    try {
      const answer = this.#ask(client, answerMs, { text: 'COMMIT' });
      point('sink.after-send-before-answer');
      await answer;
    } catch (error) {
      if (isRowError(error)) throw new CommitRefused(error);
      if (!isConnectionLost(error)) throw error;
      // Whether it holds is told by the checkpoint, once the server has ended what is left of the transaction.
      throw new TallyError('COMMIT_UNKNOWN', {
        what: 'the connection ended during COMMIT',
        where: this.#database.where,
        mend: 'read the checkpoint again: it was committed with the data',
        cause: error,
      });
    }
  }

  async #rollBack(): Promise<void> {
    if (this.#session === undefined) return;
    if ((await rollBack(this.#session.client)) !== undefined) await this.close();
  }

  #tx(client: Session['client'], answerMs: number | undefined): Tx {
    return {
      query: async (text, values) => {
        const config = values === undefined ? { text } : { text, values: [...values] };
        return (await this.#ask(client, answerMs, config)).rows;
      },
      execute: async ({ text, values }) => {
        const config = { text, values: [...values], name: this.#nameOf(text) };
        return (await this.#ask(client, answerMs, config)).rowCount ?? 0;
      },
      script: async (text) => {
        await this.#ask(client, answerMs, { text });
      },
    };
  }

  #nameOf(text: string): string {
    let name = this.#names.get(text);
    if (name === undefined) this.#names.set(text, (name = `tally_sink_${this.#names.size}`));
    return name;
  }

  async #ask(
    client: Session['client'],
    answerMs: number | undefined,
    config: { readonly text: string; readonly values?: readonly unknown[]; readonly name?: string },
  ): Promise<Answer> {
    const base = { rowMode: 'array', types: ownTypes, ...config };
    const asked = answerMs === undefined ? base : { ...base, query_timeout: answerMs };
    try {
      return await (client as unknown as Asking).query(asked);
    } catch (error) {
      throw postgresError(error, this.#database.where);
    }
  }
}
