import { randomUUID } from 'node:crypto';
import type { Random } from '../ports/clock.ts';

/** The machine's own randomness. `next` is not for secrets; `id` is. */
export const systemRandom: Random = {
  next: () => Math.random(),
  id: () => randomUUID(),
};

/**
 * Randomness that is the same for the same seed, on every machine and version: sfc32 (Chris
 * Doty-Humphrey's small fast counting generator, PractRand), its state filled from a hash of the
 * seed's text, so that the seeds 1, 2, 3 … give unrelated sequences. The seed 7 is the seed '7'.
 * `next` has 53 random bits; `id` has the form of a random UUID and is drawn from the same sequence.
 * Never for secrets.
 */
export function seededRandom(seed: number | string): Random {
  const draw = sfc32(String(seed));
  return {
    next: () => ((draw() >>> 5) * 2 ** 26 + (draw() >>> 6)) / 2 ** 53,
    id: () => uuid([draw(), draw(), draw(), draw()]),
  };
}

/** The generator: a function that returns 32 bits as an unsigned number. */
function sfc32(seed: string): () => number {
  let [a, b, c] = hash(seed);
  let counter = 1;
  const draw = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  // The author's own seeding: twelve rounds, after which every bit of state depends on every other.
  for (let round = 0; round < 12; round++) draw();
  return draw;
}

/** Three 32-bit words from text: FNV-1a with three bases, each finished as murmur3 is. */
function hash(text: string): [number, number, number] {
  const word = (basis: number): number => {
    let sum = basis;
    for (let index = 0; index < text.length; index++)
      sum = Math.imul(sum ^ text.charCodeAt(index), 0x0100_0193);
    sum = Math.imul(sum ^ (sum >>> 16), 0x85eb_ca6b);
    sum = Math.imul(sum ^ (sum >>> 13), 0xc2b2_ae35);
    return sum ^ (sum >>> 16);
  };
  return [word(0x811c_9dc5), word(0x9e37_79b9), word(0x3c6e_f372)];
}

function uuid(words: readonly number[]): string {
  const hex = words.map((word) => word.toString(16).padStart(8, '0')).join('');
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20),
  ].join('-');
}
