import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { virtualClock } from './faults/virtual-clock.ts';
import {
  deadlineFetch,
  deadlineHeaders,
  deadlineMiddleware,
  deadlineRefusals,
  readDeadline,
  withRequestDeadline,
} from './http.ts';
import { remainingMs, withDeadline } from './runtime/budget.ts';

let url = '';
const seen: (string | undefined)[] = [];
const server = createServer((request, response) => {
  seen.push(request.headers['tally-within'] as string | undefined);
  if (request.url === '/hangs') return;
  response.write('begun');
  if (request.url !== '/trickles') response.end();
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('what the caller has left bounds the request, and no more than the service allows', () => {
  const clock = virtualClock();
  const leftOf = (header: string | undefined, within?: string): number | undefined =>
    withRequestDeadline(
      { headers: header === undefined ? {} : { 'tally-within': header } },
      () => remainingMs(),
      { clock, ...(within === undefined ? {} : { within }) },
    );
  expect(leftOf('120')).toBe(120);
  expect(leftOf('120', '100ms')).toBe(100);
  expect(leftOf('120', '1s')).toBe(120);
  expect(leftOf(undefined, '1s')).toBe(1_000);
  expect(leftOf(undefined)).toBeUndefined();
  expect(leftOf('0')).toBe(0);
});

test('a header that cannot be read counts as none, and is counted', () => {
  const before = deadlineRefusals.count;
  for (const header of ['-1', '1.5', 'soon', '1e3', '999999999', '1, 2', ' '.repeat(9_000) + 'x'])
    expect(readDeadline({ 'tally-within': header })).toBeUndefined();
  expect(deadlineRefusals.count).toBe(before + 7);
  expect(readDeadline(new Headers({ 'Tally-Within': '7' }))).toBe(7);
  expect(readDeadline({ 'TALLY-WITHIN': ['7'] })).toBe(7);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (header) => {
      const read = readDeadline({ 'tally-within': header });
      expect(read === undefined || (read >= 0 && read <= 86_400_000)).toBe(true);
    }),
  );
});

test('a service that is called gets what is left, and its answer is waited for no longer', async () => {
  const call = deadlineFetch();
  expect(deadlineHeaders()).toEqual({});
  await (await call(url)).text();
  const startedMs = performance.now();
  await withDeadline(500, async () => {
    await (await call(url)).text();
    await expect(call(`${url}/hangs`)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await expect(call(url)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });
  expect(performance.now() - startedMs).toBeGreaterThan(490);
  expect(seen[0]).toBeUndefined();
  expect(Number(seen[1])).toBeLessThanOrEqual(500);
  expect(Number(seen[1])).toBeGreaterThan(0);
  expect(seen).toHaveLength(3);
});

test('the time holds for the body as well, and the signal of the caller goes on to count', async () => {
  const call = deadlineFetch();
  await withDeadline(300, async () => {
    const response = await call(`${url}/trickles`);
    await expect(response.text()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });
  const controller = new AbortController();
  controller.abort(new Error('mine'));
  await withDeadline(60, () =>
    expect(call(url, { signal: controller.signal })).rejects.toThrow('mine'),
  );
});

test('the middleware sets it for what comes after, and refuses options that mean nothing', () => {
  const clock = virtualClock();
  const left: (number | undefined)[] = [];
  const middleware = deadlineMiddleware({ within: '1s', clock });
  middleware({ headers: { 'tally-within': '30' } }, {}, () => left.push(remainingMs()));
  expect(left).toEqual([30]);
  expect(() => deadlineMiddleware({ max: 1 } as never)).toThrow(
    expect.objectContaining({ code: 'CONFIG_UNKNOWN_OPTION' }),
  );
  expect(() => deadlineMiddleware({ within: 'soon' })).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  );
});
