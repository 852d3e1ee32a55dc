import type { Driver, Session, Transaction } from 'neo4j-driver';
import type { Clock } from '../../ports/clock.ts';
import { closedError, codeOf, neoError } from './errors.ts';

/** A record of an answer, by the names of its columns. Integers are BigInts. */
export type Answer = Readonly<Record<string, unknown>>;

/** One transaction. */
export interface Tx {
  run(text: string, parameters?: Readonly<Record<string, unknown>>): Promise<readonly Answer[]>;
}

/** Making a constraint that another process makes at the same time is tried so often. */
const SCHEMA_TRIES = 10;
const SCHEMA_PAUSE_MS = 50;

/** What the ports of one open Neo4j share: transactions, with the driver's errors as those of the project. */
export class Link {
  readonly where: string;
  readonly clock: Clock;
  readonly #driver: Driver;
  readonly #database: string | undefined;
  #open = true;

  constructor(driver: Driver, database: string | undefined, where: string, clock: Clock) {
    this.#driver = driver;
    this.#database = database;
    this.where = where;
    this.clock = clock;
  }

  /** Runs `work` in one transaction, and commits it if `keep` says so. What `work` throws is thrown after the rollback. */
  write<Result>(
    work: (tx: Tx) => Promise<Result>,
    keep: (result: Result) => boolean = always,
  ): Promise<Result> {
    return this.#transaction('WRITE', work, keep);
  }

  read<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.#transaction('READ', work, always);
  }

  /** Statements that change the schema: each is a transaction of its own, and may be run again. */
  async schema(statements: readonly string[]): Promise<void> {
    for (const text of statements) {
      for (let tried = 1; ; tried += 1) {
        const session = this.#session('WRITE');
        try {
          await session.run(text);
          break;
        } catch (error) {
          const isTransient = codeOf(error).startsWith('Neo.TransientError.');
          if (!isTransient || tried === SCHEMA_TRIES) throw neoError(error, this.where);
        } finally {
          await session.close().catch(ignore);
        }
        await this.clock.sleep(SCHEMA_PAUSE_MS);
      }
    }
  }

  async close(): Promise<void> {
    this.#open = false;
    await this.#driver.close();
  }

  #session(mode: 'READ' | 'WRITE'): Session {
    if (!this.#open) throw closedError(this.where);
    const database = this.#database === undefined ? {} : { database: this.#database };
    return this.#driver.session({ defaultAccessMode: mode, ...database });
  }

  async #transaction<Result>(
    mode: 'READ' | 'WRITE',
    work: (tx: Tx) => Promise<Result>,
    keep: (result: Result) => boolean,
  ): Promise<Result> {
    const session = this.#session(mode);
    try {
      const tx = await session.beginTransaction();
      try {
        const result = await work({
          run: async (text, parameters) => {
            const { records } = await tx.run(text, parameters);
            return records.map((record) => record.toObject());
          },
        });
        await (keep(result) ? tx.commit() : tx.rollback());
        return result;
      } catch (error) {
        await rollBack(tx);
        throw error;
      }
    } catch (error) {
      throw neoError(error, this.where);
    } finally {
      await session.close().catch(ignore);
    }
  }
}

async function rollBack(tx: Transaction): Promise<void> {
  // A transaction that failed, or whose connection is gone, has ended by itself.
  if (tx.isOpen()) await tx.rollback().catch(ignore);
}

function always(): boolean {
  return true;
}

function ignore(): void {
  // It had ended already.
}
