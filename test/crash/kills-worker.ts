/**
 * The worker that the kill cycles kill: it runs the flows of {@link serverApp}, and writes and reads one key of its
 * own all the while, whose value every read that is called fresh must show. On SIGTERM it brings everything home and
 * ends with 0.
 */
import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createClient } from 'redis';
import { isTallyError, open, type OpenApp } from 'tallystick';
import { systemClock } from '../../src/runtime/clock.ts';
import { chained, serverApp, type ServerApp, type Setup } from './server-app.ts';
import { redisRun } from './kills-redis.ts';

const setup = JSON.parse(process.argv[2] ?? '{}') as Setup;
const key = `worker ${process.pid}`;
const PAUSE_MS = 100;
const HOME_MS = 60_000;

type Running = OpenApp<ServerApp['stores']>;

/** The servers may be down when the process starts: it waits for them, as one that is started again and again would. */
async function opened(): Promise<Running> {
  for (;;) {
    try {
      return await open(serverApp(setup));
    } catch (error) {
      if (!isTallyError(error) || !error.retryable) throw error;
      await systemClock.sleep(PAUSE_MS);
    }
  }
}

/** Writes the key once more; undefined if that failed: the next try then writes what it finds, plus one. */
async function writeOnce(app: Running) {
  return app
    .write('orders', async (tx) => {
      const { rows } = await tx.query<{ n: number; chain: string }>(
        'SELECT n, chain FROM counters WHERE key = $1',
        [key],
      );
      const n = (rows[0]?.n ?? 0) + 1;
      await tx.query(
        'INSERT INTO counters VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET n = excluded.n, chain = excluded.chain',
        [key, n, chained(Number(rows[0]?.chain ?? 0), n)],
      );
      return n;
    })
    .catch(() => undefined);
}

/** The value that each target shows of the key, by the clients of the application. */
const readers: Readonly<Record<string, (app: Running) => Promise<unknown>>> = {
  redis: async (app) => {
    const { client } = app.stores['redis'] as unknown as {
      client: ReturnType<typeof createClient>;
    };
    const text = await client.get(`${setup.prefix}copies:${key}`);
    return text === null ? undefined : (JSON.parse(text) as { n: number }).n;
  },
  postgres: async (app) => {
    const { client } = app.stores['postgres'] as unknown as {
      client: {
        query(
          text: string,
          values: readonly unknown[],
        ): Promise<{ rows: readonly { n: number }[] }>;
      };
    };
    const text = "SELECT (document->>'n')::int AS n FROM copies WHERE document->>'key' = $1";
    return (await client.query(text, [key])).rows[0]?.n;
  },
  sqlite: async (app) => {
    const { client } = app.stores['sqlite'] as unknown as {
      client: { prepare(text: string): { get(value: string): { n?: number } | undefined } };
    };
    const text = "SELECT document->>'n' AS n FROM copies WHERE document->>'key' = ?";
    return client.prepare(text).get(key)?.n;
  },
};

async function readOnce(
  app: Running,
  target: string,
  after: Awaited<ReturnType<typeof writeOnce>>,
): Promise<void> {
  const reader = readers[target];
  if (reader === undefined || after === undefined) return;
  const run = target === 'redis' ? await redisRun(setup.redisUrl) : '';
  const { value, freshness } = await app.read(
    target,
    { after: after.evidence, within: '500ms', otherwise: 'stale' },
    () => reader(app),
  );
  if (freshness.kind !== 'fresh') return;
  // A Redis that was killed in between may have lost what it had answered.
  if (target === 'redis' && (run === undefined || (await redisRun(setup.redisUrl)) !== run)) return;
  say({ fresh: 1 });
  if (value !== after.value)
    say({ wrong: `${target} in the worker: ${key} is ${String(value)}, not ${after.value}` });
}

function say(what: Readonly<Record<string, unknown>>): void {
  writeSync(1, `${JSON.stringify(what)}\n`);
}

async function comeHome(app: Running): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + HOME_MS;
  for (const target of setup.targets)
    for (;;) {
      const { evidence } = await app.write('orders', () => undefined);
      const freshness = await app.barrier(target, { after: evidence, within: '2s' });
      if (freshness.kind === 'fresh') break;
      if (systemClock.monotonicMs() > deadlineMs)
        throw new Error(JSON.stringify({ target, freshness, status: await app.status() }));
    }
}

const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());
// Whoever started it is gone.
process.stdin.on('end', () => process.exit(1)).resume();
(process.stdin as unknown as Socket).unref();
await using app = await opened();
say({ opened: true });
for (let round = 0; !stopping.signal.aborted; round += 1) {
  const written = await writeOnce(app);
  const target = setup.targets[round % setup.targets.length] ?? '';
  await readOnce(app, target, written).catch(() => undefined);
  await systemClock.sleep(PAUSE_MS, stopping.signal).catch(() => undefined);
}
await comeHome(app);
