import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Histogram } from './histogram.ts';

test('an empty histogram says nothing, not zero', () => {
  expect(new Histogram().percentiles()).toEqual({ count: 0, p50: null, p99: null, max: null });
});

test('percentiles are within a tenth of the exact ones, and never above the maximum', () => {
  const durations = fc.array(fc.double({ min: 0.01, max: 1e8, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(durations, (values) => {
      const histogram = new Histogram();
      for (const value of values) histogram.record(value);
      const sorted = values.toSorted((left, right) => left - right);
      const { count, p50, p99, max } = histogram.percentiles();
      expect(count).toBe(values.length);
      expect(max).toBe(Number(sorted.at(-1)?.toPrecision(3)));
      for (const [said, proportion] of [
        [p50, 0.5],
        [p99, 0.99],
      ] as const) {
        const exact = sorted[Math.ceil(values.length * proportion) - 1] ?? 0;
        // Nine percent of a bucket, and half a percent of rounding to three digits.
        expect(said).toBeGreaterThanOrEqual(exact * 0.99);
        expect(said).toBeLessThanOrEqual(exact * 1.1);
        expect(said).toBeLessThanOrEqual(max ?? 0);
      }
    }),
  );
});

test('what two histograms hold together is what one would hold', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100_000)), fc.array(fc.nat(100_000)), (left, right) => {
      const [one, other, both] = [new Histogram(), new Histogram(), new Histogram()];
      for (const value of left) one.record(value);
      for (const value of right) other.record(value);
      for (const value of [...left, ...right]) both.record(value);
      one.add(other);
      expect(one.percentiles()).toEqual(both.percentiles());
    }),
  );
});

test('durations past its ends are counted in the outermost buckets', () => {
  const histogram = new Histogram();
  histogram.record(0);
  histogram.record(1e15);
  expect(histogram.percentiles()).toMatchObject({ count: 2, max: 1e15 });
});
