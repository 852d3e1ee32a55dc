/**
 * The process that the sweep over servers kills: it carries a table of PostgreSQL to one target, writes numbered
 * transactions, has everything read again half-way, and ends when all has arrived. Started again, it goes on where
 * the database says it was.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { open, type OpenApp } from 'tallystick';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ask } from '../support/ask.ts';
import { chained, serverApp, type ServerApp, type Setup } from './server-app.ts';

const setup = JSON.parse(process.argv[2] ?? '{}') as Setup;
const transactions = Number(process.argv[3] ?? '0');
const healed = process.env['SWEEP_HEALED'] === '1';
const target = setup.targets[0] ?? 'redis';
/** Long enough for some rounds of maintenance, in which the log lets go of what was applied. */
const LINGER_MS = 2_500;

type Sweep = OpenApp<ServerApp['stores']>;

interface Transaction {
  query(
    text: string,
    values?: readonly unknown[],
  ): Promise<{ readonly rows: readonly { key: string; chain: string }[] }>;
}

async function touch(tx: Transaction, number: number, keys: readonly string[]): Promise<void> {
  const { rows } = await tx.query('SELECT key, chain FROM counters WHERE key = ANY($1)', [keys]);
  const before = new Map(rows.map(({ key, chain }) => [key, Number(chain)]));
  await tx.query(
    `INSERT INTO counters SELECT key, $2, chain FROM unnest($1::text[], $3::bigint[]) AS t(key, chain)
     ON CONFLICT (key) DO UPDATE SET n = excluded.n, chain = excluded.chain`,
    [keys, number, keys.map((key) => chained(before.get(key) ?? 0, number))],
  );
}

/** Inserts, updates, a row written twice, deletes, and a key that becomes another. */
async function transaction(tx: Transaction, number: number): Promise<void> {
  const keys = [`hot${number % 3}`, `warm${number % 17}`, `old${number % 50}`, 'all'];
  await touch(tx, number, number % 10 === 0 ? [...keys, 'poison'] : keys);
  await touch(tx, number, ['all']);
  if (number % 25 === 24)
    await tx.query('DELETE FROM counters WHERE key = $1', [`warm${number % 17}`]);
  if (number % 26 === 6)
    await tx.query("UPDATE counters SET key = 'moved', chain = $2 WHERE key = $1", [
      `old${number % 50}`,
      chained(0, number),
    ]);
  if (number % 26 === 19) await tx.query("DELETE FROM counters WHERE key = 'moved'");
  await tx.query('INSERT INTO done VALUES ($1)', [number]);
}

/** Redis has no second generation to build: all its rows are compared in place instead. */
async function readAgain(app: Sweep): Promise<void> {
  if (target === 'redis') await ask(app, { of: 'lane', lane: 'orders', request: 'resnapshot' });
  else await ask(app, { of: 'flow', flow: `copy-${target}`, request: { kind: 'rebuild' } });
}

async function main(): Promise<void> {
  armFromEnvironment(process.env);
  await using app = await open(serverApp(setup, { healed, batchRows: setup.batchRows ?? 40 }));
  const { client } = app.stores.orders;
  const { rows } = await client.query<{ done: number }>(
    'SELECT coalesce(max(number), 0) AS done FROM done',
  );
  const again = join(setup.dir, 'read-again');
  for (let number = (rows[0]?.done ?? 0) + 1; number <= transactions; number += 1) {
    await app.write('orders', (tx) => transaction(tx, number));
    if (number < transactions / 2 || existsSync(again)) continue;
    await readAgain(app);
    writeFileSync(again, '');
  }
  if (healed)
    await ask(app, {
      of: 'flow',
      flow: `copy-${target}`,
      request: { kind: 'retry-parked', unit: undefined },
    });
  const keys = healed ? {} : { keys: [{ table: 'counters', key: ['all'] }] };
  const { evidence } = await app.write('orders', () => undefined);
  const freshness = await app.barrier(target, { after: evidence, within: '40s', ...keys });
  if (process.env['SWEEP_LINGER'] === '1') await systemClock.sleep(LINGER_MS);
  if (freshness.kind === 'fresh') return;
  process.stderr.write(JSON.stringify({ freshness, status: await app.status() }));
  process.exitCode = 1;
}

await main();
