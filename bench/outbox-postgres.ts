import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import type { PostgresServer } from '../servers/index.ts';
import { query } from '../servers/postgres.ts';
import { createOutbox } from '../src/stores/postgres/index.ts';
import type { Bench, BenchClaim, BenchOptions, BenchResult } from './bench.ts';
import { median } from './flow.ts';
import { npmPeer } from './peers/fetch.ts';
import { drain, once, type Carried } from './postgres/carry.ts';
import { offsetOf, walEnd } from './postgres/lines.ts';
import { durablePostgres } from './postgres/servers.ts';

const BAR = 10_000;
const PEER = { name: 'pg-transactional-outbox', version: '0.5.7' } as const;
const PEER_SHARE = 0.05;
const execute = promisify(execFile);

/**
 * Messages of an outbox, each placed by a transaction of its own, into the inbox table of another database, once in
 * effect. Beside it the relay of pg-transactional-outbox on the same server, which only hands each message to a handler
 * that does nothing.
 */
export const outboxPostgres: Bench = {
  name: 'outbox-postgres',
  about: 'messages from an outbox into the inbox of another database, once in effect',
  run,
};

async function run({ quick, dir }: BenchOptions): Promise<BenchResult> {
  const messages = quick ? 5_000 : 100_000;
  await using postgres = await durablePostgres();
  const rounds: { readonly log: Carried; readonly sequence: Carried }[] = [];
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const at = join(dir, `round-${round}`);
    rounds.push({
      log: await relayed(postgres, at, `log_${round}`, messages, 'inbox'),
      sequence: await relayed(postgres, at, `sequence_${round}`, messages, 'inbox-sequence'),
    });
  }
  const peer = await peerRates(postgres, Math.round(messages * PEER_SHARE));
  const rate = (of: 'log' | 'sequence'): number =>
    median(rounds.map((round) => round[of].rowsPerSecond));
  const best = Math.max(...Object.values(peer ?? {}));
  return {
    claims: [
      atLeast('outbox to inbox, captured from the log', rate('log')),
      {
        claim: 'outbox to inbox, by its own sequence',
        measured: rate('sequence'),
        unit: 'messages/s',
      },
      ...(peer === undefined
        ? []
        : [
            {
              claim: `${PEER.name} ${PEER.version}, a handler that does nothing`,
              measured: best,
              unit: 'messages/s',
            },
            {
              claim: 'captured from the log, of that',
              measured: Math.round(rate('log') / best),
              unit: '×',
            },
          ]),
    ],
    details: {
      messages,
      messagesPerTransaction: 1,
      rounds,
      peer: peer ?? 'not to be had',
      postgres: postgres.version,
    },
  };
}

function atLeast(claim: string, measured: number): BenchClaim {
  return { claim, bar: BAR, measured, unit: 'messages/s', met: measured >= BAR };
}

/** Messages that wait, and a flow that was there before them. */
async function relayed(
  postgres: PostgresServer,
  dir: string,
  name: string,
  messages: number,
  kind: 'inbox' | 'inbox-sequence',
): Promise<Carried> {
  const url = await database(postgres, `${name}_orders`);
  const targetUrl = await database(postgres, `${name}_billing`);
  const capture = kind === 'inbox' ? 'log' : 'outbox';
  const client = new Client({ connectionString: url });
  await client.connect();
  await createOutbox(client, { capture });
  await client.end();
  const settings = { kind, dir: join(dir, kind), url, targetUrl };
  // By the log the offsets are its places, by the sequence they are the numbers of the messages.
  await once(settings, kind === 'inbox' ? offsetOf(await walEnd(url)) : 0);
  await place(
    url,
    messages,
    `INSERT INTO outbox (topic, key, payload) VALUES ('order-placed', n::text,
    jsonb_build_object('id', n, 'customer', 'customer ' || n % 1000, 'note', repeat('words ', 25)))`,
  );
  const end = kind === 'inbox' ? offsetOf(await walEnd(url)) : messages;
  const carried = await drain(settings, end, messages);
  const [row] = await query(
    targetUrl,
    'SELECT count(DISTINCT ord)::int AS n, count(*)::int AS rows FROM inbox',
  );
  if (row?.['n'] !== messages || row['rows'] !== messages)
    throw new Error(`the inbox has ${JSON.stringify(row)} of ${messages} messages`);
  await query(
    url,
    `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`,
  );
  return carried;
}

async function database(postgres: PostgresServer, name: string): Promise<string> {
  await query(postgres.url, `CREATE DATABASE ${name}`);
  const url = new URL(postgres.url);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs a statement for each `n`, in a transaction of its own, without a wait for the disk. */
async function place(url: string, count: number, statement: string): Promise<void> {
  await query(
    url,
    `CREATE OR REPLACE PROCEDURE place() LANGUAGE plpgsql AS $$
    BEGIN FOR n IN 1..${count} LOOP ${statement}; COMMIT; END LOOP; END $$`,
  );
  await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET synchronous_commit = off`);
  await query(url, 'CALL place()');
  await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} RESET synchronous_commit`);
  await query(url, 'CHECKPOINT');
}

/** Messages per second of the other relay, one at a time and all at once; undefined if it cannot be had. */
async function peerRates(
  postgres: PostgresServer,
  messages: number,
): Promise<Record<string, number> | undefined> {
  const folder = await npmPeer(PEER.name, PEER.version);
  if (folder === undefined) return undefined;
  const rates: Record<string, number> = {};
  for (const concurrency of ['mutex', 'full']) {
    const url = await database(postgres, `peer_${concurrency}`);
    await query(
      url,
      `CREATE TABLE peer_outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      aggregate_type text NOT NULL, aggregate_id text NOT NULL, message_type text NOT NULL, segment text,
      concurrency text NOT NULL DEFAULT 'sequential', payload jsonb NOT NULL, metadata jsonb,
      locked_until timestamptz NOT NULL DEFAULT to_timestamp(0), created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      processed_at timestamptz, abandoned_at timestamptz, started_attempts smallint NOT NULL DEFAULT 0,
      finished_attempts smallint NOT NULL DEFAULT 0)`,
    );
    await query(
      url,
      `CREATE PUBLICATION peer_outbox FOR TABLE peer_outbox WITH (publish = 'insert')`,
    );
    await query(url, `SELECT pg_create_logical_replication_slot('peer_outbox', 'pgoutput')`);
    await place(
      url,
      messages,
      `INSERT INTO peer_outbox (aggregate_type, aggregate_id, message_type, payload)
      VALUES ('order', n::text, 'order-placed',
        jsonb_build_object('id', n, 'customer', 'customer ' || n % 1000, 'note', repeat('words ', 25)))`,
    );
    const script = join(import.meta.dirname, 'peers', 'outbox', 'relay.mjs');
    const { stdout } = await execute(
      process.execPath,
      [script, folder, url, String(messages), concurrency],
      {
        timeout: 300_000,
      },
    );
    const { milliseconds } = JSON.parse(stdout) as { readonly milliseconds: number };
    rates[concurrency] = Math.round((messages * 1_000) / milliseconds);
    await query(url, `SELECT pg_drop_replication_slot('peer_outbox')`);
  }
  return rates;
}
