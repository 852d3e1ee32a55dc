import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Database } from '../database.ts';
import { WriterConnection } from './connection.ts';
import type { Schemas } from './names.ts';

/** What the sink, scan and query ports of one store share. */
export class Host {
  readonly database: Database;
  readonly #writers = new Set<WriterConnection>();
  #schemas: Promise<Schemas> | undefined;

  constructor(database: Database) {
    this.database = database;
  }

  get clock(): Clock {
    return this.database.clock;
  }

  /** A connection that ends with the store, if nobody ends it before. */
  writer(): WriterConnection {
    const writer = new WriterConnection(this.database);
    this.#writers.add(writer);
    return writer;
  }

  async release(writer: WriterConnection): Promise<void> {
    this.#writers.delete(writer);
    await writer.close();
  }

  /**
   * Where unqualified targets are: the first schema of the user's search path that exists. A fresh connection is
   * asked, because the application may have set another path on one of the pool. Throws CONFIG_INVALID.
   */
  schemas(): Promise<Schemas> {
    if (this.#schemas !== undefined) return this.#schemas;
    const asked = this.#ask();
    this.#schemas = asked;
    // A failure is not remembered: the next caller asks again.
    asked.catch(() => (this.#schemas = undefined));
    return asked;
  }

  async close(): Promise<void> {
    for (const writer of this.#writers) await this.release(writer);
  }

  async #ask(): Promise<Schemas> {
    const { schema: own, where } = this.database;
    await using session = await this.database.connect();
    const [row] = await session.query<{ current: string | null }>(
      'SELECT current_schema() AS current',
    );
    if (row !== undefined && row.current !== null) return { current: row.current, own };
    throw new TallyError('CONFIG_INVALID', {
      what: 'no schema of the search path exists, so there is no place for targets',
      where,
      mend: 'create the schema, set search_path for the user or the database, or name targets with their schema: sales.orders',
    });
  }
}
