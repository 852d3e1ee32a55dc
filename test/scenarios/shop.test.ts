import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ShopStatus } from '../../examples/shop/protocol.ts';
import { boundaries } from '../../examples/shop/verify/boundaries.ts';
import { plantFault } from '../../examples/shop/verify/plant.ts';
import { isWhole, verify } from '../../examples/shop/verify/verify.ts';
import { runShop, startShop } from './run-shop.ts';

const LIMIT_MS = 60_000;

let directory: string;
/** A shop that has run and closed: for the tests that look at its stores. */
let ran: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tally-shop-test-'));
  ran = join(directory, 'ran');
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test(
  'runs for a while, stops by itself, and every store holds what the orders say',
  { timeout: LIMIT_MS },
  async () => {
    const { code, report, stderr } = await runShop(['--for', '3s', '--json', '--dir', ran]);
    expect(stderr).toContain('Nothing lost, doubled or left behind.');
    expect(code).toBe(0);
    expect(report).toMatchObject({ ok: true, leftBehind: [], kills: { total: 0 } });
    expect(Object.keys(report?.flows ?? {})).toEqual([...boundaries]);
    expect(report?.orders).toBeGreaterThan(50);
    expect(report?.changesCaptured).toBeGreaterThan(report?.lines ?? Infinity);
    expect(report?.reads.outcomes['fresh']).toBeGreaterThan(0);
    expect(report?.reads.wrong).toEqual({});
    for (const boundary of boundaries) {
      expect(report?.flows[boundary]?.applied, boundary).toBeGreaterThan(0);
      expect(report?.flows[boundary]?.parked, boundary).toBe(0);
      expect(report?.drift[boundary]?.checked, boundary).toBeGreaterThan(0);
    }
    expect(await verify(ran).then(isWhole)).toBe(true);
  },
);

test('a shop that is started again goes on where it was', { timeout: LIMIT_MS }, async () => {
  const again = join(directory, 'again');
  await cp(ran, again, { recursive: true });
  const { code, report } = await runShop(['--for', '1s', '--json', '--dir', again]);
  expect(code).toBe(0);
  expect(report?.ok).toBe(true);
});

test.each(
  boundaries.flatMap((boundary) =>
    (['lost', 'doubled', 'stale'] as const).map((fault) => ({ boundary, fault })),
  ),
)('the check finds a row that is $fault at $boundary', async ({ boundary, fault }) => {
  const copy = await mkdtemp(join(directory, 'fault-'));
  await cp(ran, copy, { recursive: true });
  await plantFault(copy, { boundary, fault });
  const drift = await verify(copy);
  const { lost, extra, stale } = drift[boundary];
  const found = { lost: lost > 0, doubled: extra > 0, stale: stale > 0 };
  expect(found).toEqual({ lost: false, doubled: false, stale: false, [fault]: true });
  const others = Object.entries(drift).filter(([name]) => name !== boundary);
  expect(isWhole(Object.fromEntries(others))).toBe(true);
});

test.each(['lost:receipts', 'doubled:salesReports', 'stale:salesMetrics'])(
  'exits with 1 after --plant %s',
  { timeout: LIMIT_MS },
  async (fault) => {
    const { code, report } = await runShop(['--for', '500ms', '--json', '--plant', fault]);
    expect(code).toBe(1);
    expect(report?.ok).toBe(false);
  },
);

test(
  'nothing is lost when the worker is killed again and again',
  { timeout: LIMIT_MS },
  async () => {
    const args = ['--for', '8s', '--kill-every', '500ms', '--json', '--seed', '5'];
    const { code, report, stderr } = await runShop(args);
    expect(stderr).toContain('Nothing lost, doubled or left behind.');
    expect(code).toBe(0);
    expect(report?.kills.total).toBeGreaterThanOrEqual(3);
    const phases = Object.values(report?.kills.byPhase ?? {});
    expect(phases.reduce((sum, count) => sum + count, 0)).toBe(report?.kills.total);
  },
);

test(
  'ends in order on SIGTERM, checks its stores, and leaves nothing behind',
  { timeout: LIMIT_MS },
  async () => {
    const temporary = await mkdtemp(join(directory, 'temporary-'));
    const { child, ended, says } = startShop(['--json'], { TMPDIR: temporary });
    await says(' orders, ');
    child.kill('SIGTERM');
    const { code, stdout } = await ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
    expect(await readdir(temporary)).toEqual([]);
  },
);

test(
  'tells how it stands on loopback, and takes its worker along when it dies itself',
  { timeout: LIMIT_MS },
  async () => {
    const dir = join(directory, 'orphan');
    const { child, ended, says, heard } = startShop(['--dir', dir]);
    await says(' orders, ');
    const url = /status: (http:\/\/127\.0\.0\.1:\d+\/status)/.exec(heard())?.[1] ?? '';
    const status = (await (await fetch(url)).json()) as ShopStatus;
    expect(status.app.flows.map(({ flow }) => flow)).toEqual([...boundaries]);
    expect((await fetch(`${url}/absent`)).status).toBe(404);
    const { pid } = JSON.parse(status.app.owner) as { readonly pid: number };
    expect(isAlive(pid)).toBe(true);
    child.kill('SIGKILL');
    await ended;
    while (isAlive(pid)) await setImmediate();
  },
);

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
