import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { must, unreachable } from '../../src/core/errors.ts';
import { open } from '../../src/index.ts';
import { capture } from '../../src/flow/capture.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { segmentLog } from '../../src/stores/files/log/index.ts';
import { postgres } from '../../src/stores/postgres/index.ts';
import { sqliteLedger } from '../../src/stores/sqlite/ledger/index.ts';
import { onRequest, tellParent } from '../flow/process.ts';
import { linesApp, type Target } from './app.ts';
import { backfillCarrier, type BackfillCarrier } from './backfill-carrier.ts';
import type { Carrier } from './carrier.ts';
import type { WorkerAnswer, WorkerRequest, WorkerSettings } from './messages.ts';
import { UsageMeter } from './usage.ts';

// The process that is measured, and nothing else in it: it carries what is asked for until that is reached.

const context = { name: 'orders', clock: systemClock, random: systemRandom };
const BATCH = { rowsMax: 1_000, bytesMax: 2 ** 20 };

const settings = JSON.parse(process.argv[2] ?? '{}') as WorkerSettings;
const meter = new UsageMeter();
const startedAtMs = Date.now();
const carrier = await begin(settings);
const filling = settings.kind === 'backfill' ? (carrier as BackfillCarrier) : undefined;
tellParent({ kind: 'open', startedAtMs } satisfies WorkerAnswer);
onRequest(async (message) => {
  const request = message as WorkerRequest;
  if (request.kind === 'close') {
    await carrier.close();
    process.disconnect();
  } else tellParent(await answer(request));
});

async function answer(request: Exclude<WorkerRequest, { kind: 'close' }>): Promise<WorkerAnswer> {
  switch (request.kind) {
    case 'reach': {
      await carrier.reach(request.offset);
      return { kind: 'reached', atMs: Date.now(), rows: await carrier.counted() };
    }
    case 'usage':
      return { kind: 'used', usage: meter.end() };
    case 'lag':
      return { kind: 'lag', lagMs: must(await filling?.lag(), 'a lag') };
    case 'backfill':
      return { kind: 'filled', ...must(await filling?.backfill(), 'a backfill') };
    default:
      return unreachable(request);
  }
}

function begin({ kind, dir, url, targetUrl }: WorkerSettings): Promise<Carrier> {
  switch (kind) {
    case 'stream':
      return streamOnly(url);
    case 'capture':
      return captureOnly(dir, url);
    case 'backfill':
      return backfillCarrier(dir, url);
    case 'redis':
    case 'null':
    case 'inbox':
    case 'inbox-sequence':
      return wholeFlow({
        dir,
        target: kind,
        url,
        ...(targetUrl === undefined ? {} : { targetUrl }),
      });
    default:
      return unreachable(kind);
  }
}

/** Reads the slot and keeps nothing; nothing is acknowledged, so that the slot can be read again. */
async function streamOnly(url: string): Promise<Carrier> {
  const store = await postgres({ url, slot: 'tally_stream' }).open(context);
  await store.source.prepare(['lines']);
  let rows = 0;
  return {
    reach: async (offset) => {
      const stop = new AbortController();
      const entries = store.source.stream({ after: undefined, ...BATCH, signal: stop.signal });
      for await (const batch of entries) {
        for (const entry of batch) if (entry.kind === 'change') rows += 1;
        const last = batch.at(-1);
        if (last?.kind === 'commit' && last.offset >= offset) break;
      }
    },
    counted: async () => rows,
    close: () => store.close(),
  };
}

/** Captures into the embedded log, with its lease and its acknowledgements. */
async function captureOnly(dir: string, url: string): Promise<Carrier> {
  await mkdir(dir, { recursive: true });
  const store = await postgres({ url, slot: 'tally_capture' }).open(context);
  await store.source.prepare(['lines']);
  const ledger = await sqliteLedger({ file: join(dir, 'ledger.db') }).open(context);
  const log = await segmentLog({ dir: join(dir, 'log') }).open(context);
  const stop = new AbortController();
  let rows = 0;
  let [wanted, done] = [Infinity, (): void => undefined];
  const close = async (): Promise<void> => {
    await log.close();
    await ledger.close();
    await store.close();
  };
  return {
    reach: async (offset) => {
      wanted = offset;
      const reached = new Promise<void>((resolve) => {
        done = resolve;
      });
      const running = capture({
        lane: 'orders',
        source: store.source,
        tables: ['lines'],
        log,
        ledger,
        clock: systemClock,
        owner: `bench/${process.pid}`,
        isDead: () => true,
        observer: {
          state: () => undefined,
          captured: (changes, head) => {
            rows += changes;
            if (head.offset >= wanted) done();
          },
        },
        signal: stop.signal,
      });
      await Promise.race([reached, running]);
      void running.catch(() => undefined);
    },
    counted: async () => rows,
    close: async () => {
      stop.abort();
      await close();
    },
  };
}

/** Runs the application with its flow, as `tally up` does. */
async function wholeFlow(options: {
  readonly dir: string;
  readonly target: Target;
  readonly url: string;
  readonly targetUrl?: string;
}): Promise<Carrier> {
  const app = await open(linesApp(options));
  return {
    reach: async (offset) => {
      const after = new Map([['orders', [{ epoch: 1, offset }]]]);
      const { kind } = await app.barrier('copy', { after, within: '10m' });
      if (kind !== 'fresh') throw new Error(`the flow did not get there: ${kind}`);
    },
    counted: async () => (await app.status()).flows[0]?.applied ?? 0,
    close: () => app.close(),
  };
}
