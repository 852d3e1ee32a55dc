import { describe, expect, it } from 'vitest';
import type { Random } from '../ports/clock.ts';
import { seededRandom, systemRandom } from './random.ts';

const draws = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.next());

describe.each<[string, () => Random]>([
  ['the system', () => systemRandom],
  ['a seed', () => seededRandom('shop')],
])('randomness of %s', (_, make) => {
  it('is in [0, 1) and evenly spread', () => {
    const buckets = Array.from({ length: 16 }, () => 0);
    for (const draw of draws(make(), 16_000)) {
      expect(draw >= 0 && draw < 1).toBe(true);
      const bucket = Math.floor(draw * 16);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    // 1000 each; five hundred away would be sixteen standard deviations.
    for (const count of buckets) expect(Math.abs(count - 1_000)).toBeLessThan(500);
  });

  it('makes identifiers in UUID form that do not repeat', () => {
    const random = make();
    const ids = Array.from({ length: 1_000 }, () => random.id());
    expect(new Set(ids).size).toBe(1_000);
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe('seeded randomness', () => {
  it('is the same for the same seed, for ever', () => {
    expect(draws(seededRandom(7), 3)).toStrictEqual(draws(seededRandom('7'), 3));
    const random = seededRandom(1);
    expect([random.next(), random.next(), random.id()]).toMatchInlineSnapshot(`
      [
        0.10979684858787331,
        0.19343121089382664,
        "ebf744a4-ab7a-4270-b524-c2f50bb2ed6b",
      ]
    `);
  });

  it('is another for another seed, also for neighbours and for none', () => {
    const firsts = Array.from({ length: 5_000 }, (_, seed) => seededRandom(seed).next());
    expect(new Set([...firsts, seededRandom('').next()]).size).toBe(5_001);
    const mean = firsts.reduce((sum, draw) => sum + draw, 0) / firsts.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.03);
  });

  it('does not fall into a short cycle', () => {
    expect(new Set(draws(seededRandom('cycle'), 50_000)).size).toBe(50_000);
  });
});
