import { expect, test } from 'vitest';
import { FlowMeter } from './meter.ts';

const START_MS = 1_700_000_000_000;

function report(changes: number, ...committedAtMs: readonly number[]) {
  return { applied: changes, older: 1, changes, committedAtMs };
}

test('a meter counts all that was reported, and measures the lag from the commits', () => {
  const meter = new FlowMeter();
  meter.record(START_MS, report(3, START_MS - 100));
  meter.record(START_MS + 10, report(4, START_MS - 90, START_MS + 5));
  meter.parked = 2;
  const measures = meter.measures(START_MS + 1_000);
  expect(measures).toMatchObject({ applied: 7, older: 2, changes: 7, parked: 2 });
  expect(measures.lagMs).toMatchObject({ count: 3, max: 100 });
});

test('a commit in the future of our clock has no lag, not a negative one', () => {
  const meter = new FlowMeter();
  meter.record(START_MS, report(1, START_MS + 5_000));
  expect(meter.measures(START_MS).lagMs).toMatchObject({ count: 1, max: 0 });
});

test('the rate is of the last seconds, and falls to zero when nothing comes', () => {
  const meter = new FlowMeter();
  for (let second = 0; second < 20; second += 1)
    meter.record(START_MS + second * 1_000, report(50));
  expect(meter.measures(START_MS + 20_000).ratePerSecond).toBeGreaterThan(40);
  expect(meter.measures(START_MS + 20_000).ratePerSecond).toBeLessThan(60);
  expect(meter.measures(START_MS + 60_000)).toMatchObject({
    ratePerSecond: 0,
    recentLagMs: { count: 0, p50: null },
    changes: 1_000,
  });
});

test('the recent lag forgets, the whole one does not', () => {
  const meter = new FlowMeter();
  meter.record(START_MS, report(1, START_MS - 10_000));
  meter.record(START_MS + 30_000, report(1, START_MS + 29_990));
  const { lagMs, recentLagMs } = meter.measures(START_MS + 30_000);
  expect(lagMs).toMatchObject({ count: 2, max: 10_000 });
  expect(recentLagMs).toMatchObject({ count: 1, max: 10 });
});
