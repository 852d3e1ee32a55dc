import { existsSync, readFileSync } from 'node:fs';
import { open, type FlowStatus, type OpenApp } from '../../src/index.ts';
import { flowApp } from './app.ts';
import { onRequest, tellParent } from './process.ts';
import type { CoordinatorAnswer, CoordinatorRequest, CoordinatorSettings } from './messages.ts';

// The process that is measured: captures, log, flow and sink of one application, and nothing else.

const { dir, target } = JSON.parse(process.argv[2] ?? '{}') as CoordinatorSettings;
const startedAtMs = Date.now();
const app: OpenApp = await open(flowApp(dir, target));
tellParent({ kind: 'open', startedAtMs } satisfies CoordinatorAnswer);
onRequest(async (message) => {
  const request = message as CoordinatorRequest;
  if (request.kind === 'close') {
    await app.close();
    process.disconnect();
    return;
  }
  const { head } = request;
  const after = new Map([['orders', [{ epoch: 1, offset: head }]]]);
  const freshness = await app.barrier('copy', { after, within: '2m' });
  const atMs = Date.now();
  tellParent({
    kind: 'reached',
    freshness: freshness.kind,
    atMs,
    peakRssBytes: peakRssBytes(),
    rssBytes: process.memoryUsage.rss(),
    heap: process.memoryUsage(),
    flow: (await app.status()).flows[0] as FlowStatus,
  } satisfies CoordinatorAnswer);
});

/** Linux counts the parent before exec into resourceUsage().maxRSS; the high-water mark is this process alone. */
function peakRssBytes(): number {
  const file = '/proc/self/status';
  const status = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const found = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return (found === undefined ? process.resourceUsage().maxRSS : Number(found)) * 1024;
}
