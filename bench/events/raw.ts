import { randomUUID } from 'node:crypto';
import { Client, Pool } from 'pg';
import { sample } from './callers.ts';

/** The same columns and unique indexes as the event store has. */
const TABLE = `CREATE TABLE raw_events (
  position bigint NOT NULL UNIQUE, stream text COLLATE "C" NOT NULL, version bigint NOT NULL, id text COLLATE "C" NOT NULL UNIQUE,
  type text COLLATE "C" NOT NULL, schema_version integer NOT NULL, at timestamptz NOT NULL, bytes integer NOT NULL,
  ends boolean NOT NULL, correlation_id text, causation_id text, tags text[] NOT NULL, data json NOT NULL, metadata json NOT NULL,
  PRIMARY KEY (stream, version))`;
const REST = `1, clock_timestamp(), 200, true, NULL, NULL, '{}'`;

/** What an event store is compared with: the same rows by the shortest statements. */
export interface RawEvents extends AsyncDisposable {
  /** One INSERT, which is one transaction, on a connection of the pool. */
  readonly insert: (n: number) => Promise<unknown>;
  /** The same rows, those of all who wait in one INSERT: no lock, no check of versions, no ids to look for. */
  readonly grouped: (n: number) => Promise<unknown>;
  /** Reads everything in pages of 10,000 rows, and parses what they say. */
  readonly replay: () => Promise<number>;
  /** Reads one stream whole. */
  readonly load: (stream: string) => Promise<number>;
}

/** Opens the raw side on a database. `from` is the table that is read. */
export async function openRaw(url: string, from: string): Promise<RawEvents> {
  const pool = new Pool({ connectionString: url, max: 16 });
  const client = new Client({ connectionString: url });
  await client.connect();
  await pool.query(TABLE);
  let position = 0;
  let waiting: {
    readonly n: number;
    readonly done: () => void;
    readonly failed: (error: unknown) => void;
  }[] = [];
  let running = false;
  const run = async (): Promise<void> => {
    running = true;
    await new Promise<void>((resolve) => process.nextTick(resolve));
    while (waiting.length > 0) {
      const taken = waiting;
      waiting = [];
      const columns: [number[], string[], string[], string[]] = [[], [], [], []];
      for (const { n } of taken) {
        columns[0].push((position += 1));
        columns[1].push(`stream-${n}-${position}`);
        columns[2].push(randomUUID());
        columns[3].push(JSON.stringify(sample(n).data));
      }
      try {
        await client.query({
          name: 'grouped',
          text: `INSERT INTO raw_events (position, stream, version, id, type, schema_version, at, bytes, ends, correlation_id, causation_id, tags, data, metadata)
            SELECT p, s, 1, i, 'Deposited', ${REST}, d::json, '{}' FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[]) AS u(p, s, i, d)`,
          values: columns,
        });
        for (const { done } of taken) done();
      } catch (error) {
        for (const { failed } of taken) failed(error);
      }
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    running = false;
  };
  return {
    insert: (n) =>
      pool.query({
        name: 'insert',
        text: `INSERT INTO raw_events (position, stream, version, id, type, schema_version, at, bytes, ends, correlation_id, causation_id, tags, data, metadata)
          VALUES ($1, $2, 1, $3, 'Deposited', ${REST}, $4, '{}')`,
        values: [
          (position += 1),
          `alone-${n}-${position}`,
          randomUUID(),
          JSON.stringify(sample(n).data),
        ],
      }),
    grouped: (n) =>
      new Promise<void>((done, failed) => {
        waiting.push({ n, done, failed });
        if (!running) void run();
      }),
    replay: () => replay(client, from),
    load: async (stream) => {
      const { rows } = await client.query<{ data: unknown }>({
        name: 'load',
        text: `SELECT stream, version, position, id, type, schema_version, data, metadata, at FROM ${from} WHERE stream = $1 ORDER BY version`,
        values: [stream],
      });
      return rows.length;
    },
    [Symbol.asyncDispose]: async () => {
      await client.end();
      await pool.end();
    },
  };
}

/** The driver parses json columns by itself. */
async function replay(client: Client, from: string): Promise<number> {
  let count = 0;
  for (let after = 0; ;) {
    const { rows } = await client.query<{ position: string }>({
      name: 'page',
      text: `SELECT stream, version, position, id, type, schema_version, data, metadata, at FROM ${from} WHERE position > $1 ORDER BY position LIMIT 10000`,
      values: [after],
    });
    count += rows.length;
    if (rows.length < 10_000) return count;
    after = Number(rows.at(-1)?.position);
  }
}
