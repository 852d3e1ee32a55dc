import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { createClient } from 'redis';
import { tellParent } from '../flow/process.ts';
import { INSERT_LINE } from './lines.ts';
import type { TrafficSettings, TrafficSeen } from './messages.ts';
import { spread } from './spread.ts';

// Somebody who writes at a steady rate and, in the same process and so by the same clock, somebody who reads the
// target. He is told by Redis itself of each row that becomes visible, so that he asks for nothing and adds nothing.

const CONNECTIONS = 16;
const WAIT_MS = 60_000;

const settings = JSON.parse(process.argv[2] ?? '{}') as TrafficSettings;
const { url, targetUrl, firstId, perSecond, seconds, warmUpSeconds, reads } = settings;
const pool = new Pool({ connectionString: url, max: CONNECTIONS });
const count = perSecond * (seconds + warmUpSeconds);
const warm = perSecond * warmUpSeconds;
const [sent, committed, seen] = Array.from({ length: 3 }, () => new Float64Array(count)) as [
  Float64Array,
  Float64Array,
  Float64Array,
];
let left = reads === 'nothing' ? 0 : count;
let allSeen: () => void = () => undefined;
const everything = new Promise<void>((resolve) => {
  allSeen = resolve;
});
const stopReading = await read();
await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.query('SELECT pg_sleep(0.01)')));

const startedMs = performance.now();
const writes: Promise<void>[] = [];
for (let id = 0; id < count;) {
  const due = Math.min(count, Math.ceil(((performance.now() - startedMs) * perSecond) / 1_000));
  while (id < due) writes.push(write(id++));
  await sleep(1);
}
await Promise.all(writes);
const writtenSeconds = (performance.now() - startedMs) / 1_000;
if (left > 0) await Promise.race([everything, sleep(WAIT_MS, undefined, { ref: false })]);
if (left > 0) throw new Error(`${left} of ${count} rows did not become visible in ${WAIT_MS} ms`);
await stopReading();
await pool.end();
const since = (from: Float64Array, to: Float64Array): ReturnType<typeof spread> =>
  spread(
    Array.from({ length: count - warm }, (_, at) => (to[warm + at] ?? 0) - (from[warm + at] ?? 0)),
  );
tellParent({
  writes: count - warm,
  perSecond: Math.round(count / writtenSeconds),
  commitMs: since(sent, committed),
  ...(reads === 'nothing'
    ? {}
    : { visibleMs: since(committed, seen), visibleSinceSentMs: since(sent, seen) }),
} satisfies TrafficSeen);
process.disconnect();

/** The part of the driver's client that is used for streams. */
interface Commands {
  sendCommand(args: string[]): Promise<unknown>;
}

async function write(id: number): Promise<void> {
  sent[id] = performance.now();
  await pool.query({ name: 'line', text: INSERT_LINE, values: [firstId + id] });
  committed[id] = performance.now();
}

function see(id: number): void {
  const at = id - firstId;
  if (at < 0 || at >= count || seen[at] !== 0) return;
  seen[at] = performance.now();
  left -= 1;
  if (left === 0) allSeen();
}

/** Begins to look at the target; how to stop. */
async function read(): Promise<() => Promise<void>> {
  if (reads === 'nothing') return async () => undefined;
  const client = await createClient({ url: targetUrl, RESP: 2 }).connect();
  if (reads === 'keys') {
    await client.configSet('notify-keyspace-events', 'E$');
    await client.subscribe('__keyevent@0__:set', (key) => see(Number(key.slice('lines:'.length))));
    return async () => client.destroy();
  }
  void readStream(client);
  return async () => client.destroy();
}

async function readStream(client: Commands): Promise<void> {
  let after = '$';
  for (;;) {
    const answer = (await client
      .sendCommand(['XREAD', 'COUNT', '10000', 'BLOCK', '1000', 'STREAMS', 'lines', after])
      .catch(() => 'closed')) as 'closed' | null | [[string, [string, string[]][]]];
    if (answer === 'closed') return;
    for (const [id, [key = '']] of answer?.[0][1] ?? []) {
      after = id;
      see((JSON.parse(key) as { id: number }).id);
    }
  }
}
