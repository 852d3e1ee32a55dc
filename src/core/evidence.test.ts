import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  clampEvidence,
  coversEvidence,
  EPOCHS_PER_LANE_MAX,
  type Evidence,
  evidenceOf,
  type Fork,
  isLaneName,
  LANE_CHARACTERS_MAX,
  lagBehind,
  mergeEvidence,
  noEvidence,
  type Relation,
} from './evidence.ts';
import { TallyError } from './errors.ts';

/** `orders@1.5 orders@2.7 stock@1.1` as evidence. */
function of(text: string): Evidence {
  return evidenceOf(
    text
      .split(' ')
      .filter((entry) => entry !== '')
      .map((entry) => {
        const [lane = '', epoch, offset] = entry.split(/[@.]/);
        return [lane, { epoch: Number(epoch), offset: Number(offset) }];
      }),
  );
}

function forks(table: Readonly<Record<string, Fork>>): Relation {
  return (lane, epoch) => table[`${lane}@${epoch}`];
}

const code = (expected: string): unknown => expect.objectContaining({ code: expected });

const entries = fc.array(
  fc.tuple(
    fc.constantFrom('orders', 'stock', 'events/3', '__proto__'),
    fc.record(
      { epoch: fc.integer({ min: 0, max: 3 }), offset: fc.integer({ min: 0, max: 9 }) },
      { noNullPrototype: true },
    ),
  ),
  { maxLength: 8 },
);
const evidence = entries.map(evidenceOf);
/** A well-formed history: each epoch forked from an older one, or began anew. */
const relation: fc.Arbitrary<Relation> = fc
  .array(fc.option(fc.tuple(fc.nat(10), fc.nat(9))), { minLength: 4, maxLength: 4 })
  .map((forked) => (_lane, epoch) => {
    const fork = forked[epoch];
    if (fork === null || fork === undefined || epoch === 0) return undefined;
    return { parent: fork[0] % epoch, upTo: fork[1] };
  });
const maybeRelation = fc.option(relation, { nil: undefined });

describe('a lane name', () => {
  it('is 1 to 64 letters, digits and _ . : / -', () => {
    for (const name of [
      'orders',
      'events/3',
      'A-z_0.9:x',
      '__proto__',
      'x'.repeat(LANE_CHARACTERS_MAX),
    ])
      expect(isLaneName(name)).toBe(true);
    for (const name of ['', 'a b', 'a@b', 'a~b', 'a,b', 'a;b', 'a%b', 'é', 'a\n', 'x'.repeat(65)])
      expect(isLaneName(name)).toBe(false);
  });
});

describe('evidence of positions', () => {
  it('keeps the furthest position of each lane and epoch, in the order of epochs', () => {
    expect([...of('b@2.1 a@1.5 b@1.9 a@1.3 b@2.4')]).toStrictEqual([
      [
        'b',
        [
          { epoch: 1, offset: 9 },
          { epoch: 2, offset: 4 },
        ],
      ],
      ['a', [{ epoch: 1, offset: 5 }]],
    ]);
  });

  it('is refused for a bad lane, a bad position, and a fifth history', () => {
    expect(() => of('a,b@1.1')).toThrow(code('CONFIG_INVALID'));
    expect(() => of('a@9000.1')).toThrow(code('POSITION_OUT_OF_RANGE'));
    expect(of('a@1.1 a@2.1 a@3.1 a@4.1').get('a')).toHaveLength(EPOCHS_PER_LANE_MAX);
    expect(() => of('a@1.1 a@2.1 a@3.1 a@4.1 a@5.1')).toThrow(code('EVIDENCE_TOO_LARGE'));
  });

  it('carries nothing but epoch and offset, whatever object it was given', () => {
    const change = { epoch: 1, offset: 2, ordinal: 3, row: { secret: true } };
    expect(evidenceOf([['a', change]]).get('a')).toStrictEqual([{ epoch: 1, offset: 2 }]);
  });
});

describe('merging evidence', () => {
  it('is commutative, associative and idempotent, with nothing as its neutral element', () => {
    fc.assert(
      fc.property(evidence, evidence, evidence, (a, b, c) => {
        expect(mergeEvidence(a, b)).toStrictEqual(mergeEvidence(b, a));
        expect(mergeEvidence(mergeEvidence(a, b), c)).toStrictEqual(
          mergeEvidence(a, mergeEvidence(b, c)),
        );
        expect(mergeEvidence(a, b, c)).toStrictEqual(mergeEvidence(mergeEvidence(a, b), c));
        expect(mergeEvidence(a, a)).toStrictEqual(a);
        expect(mergeEvidence(noEvidence, a)).toStrictEqual(a);
      }),
    );
    expect(mergeEvidence()).toBe(noEvidence);
  });

  it('changes none of its parts', () => {
    const left = of('a@1.1');
    mergeEvidence(left, of('a@1.5 b@1.1'));
    expect(left).toStrictEqual(of('a@1.1'));
  });

  it('refuses a fifth history rather than forgetting the first', () => {
    const four = of('a@1.1 a@2.1 a@3.1 a@4.1');
    expect(mergeEvidence(four, of('a@4.9'))).toStrictEqual(of('a@1.1 a@2.1 a@3.1 a@4.9'));
    expect(() => mergeEvidence(four, of('a@5.1'))).toThrow(code('EVIDENCE_TOO_LARGE'));
    expect(() => mergeEvidence(of('a@5.1'), four)).toThrow(code('EVIDENCE_TOO_LARGE'));
  });
});

describe('whether evidence covers other evidence', () => {
  it.each([
    ['', '', 'covered'],
    ['a@1.5', '', 'covered'],
    ['a@1.5', 'a@1.5', 'covered'],
    ['a@1.6', 'a@1.5', 'covered'],
    ['a@1.4', 'a@1.5', 'behind'],
    ['', 'a@1.5', 'behind'],
    ['b@1.9', 'a@1.5', 'behind'],
    ['a@2.9', 'a@1.5', 'incomparable'],
    ['a@1.9', 'a@2.5', 'incomparable'],
    ['a@1.4 a@2.9', 'a@1.5', 'behind'],
    ['a@1.5 a@2.9', 'a@1.5 a@2.9', 'covered'],
    ['a@1.5', 'a@1.5 a@2.9', 'incomparable'],
    ['a@2.1', 'b@1.1 a@1.5', 'incomparable'],
    ['a@2.1', 'a@1.5 b@1.1', 'incomparable'],
  ])('%j against the needed %j is %s', (have, need, expected) => {
    expect(coversEvidence(of(have), of(need))).toBe(expected);
  });

  // 2 forked from 1 at 100; 3 from 2 at 50; 4 from 1 at 70: a second branch.
  const branches = forks({
    'a@2': { parent: 1, upTo: 100 },
    'a@3': { parent: 2, upTo: 50 },
    'a@4': { parent: 1, upTo: 70 },
  });

  it.each([
    ['a@2.100', 'a@1.100', 'covered', 'the fork has everything up to it'],
    ['a@2.0', 'a@1.100', 'behind', 'it is part of the fork, which has not come so far yet'],
    ['a@2.0', 'a@1.101', 'incomparable', 'what came after the fork is not in it and never will be'],
    ['a@1.60 a@4.0', 'a@1.80', 'incomparable', 'its own branch has left the needed one'],
    ['a@1.80 a@4.0', 'a@1.80', 'covered', 'it has passed it before'],
    ['a@3.100', 'a@1.100', 'covered', 'through two forks'],
    ['a@3.0', 'a@2.51', 'incomparable', 'past the second fork'],
    ['a@3.0', 'a@1.101', 'incomparable', 'past the first fork'],
    ['a@1.30', 'a@2.5', 'behind', 'still on the common part'],
    ['a@1.100', 'a@2.5', 'behind', 'at the end of the common part'],
    ['a@1.101', 'a@2.5', 'incomparable', 'on the branch that was left'],
    ['a@1.30', 'a@3.5', 'behind', 'on the common part of two forks'],
    ['a@4.5', 'a@2.5', 'incomparable', 'on a sister branch'],
    ['b@2.0', 'b@1.1', 'incomparable', 'of a lane whose forks are not known'],
  ])('%j against the needed %j is %s: %s', (have, need, expected) => {
    expect(coversEvidence(of(have), of(need), branches)).toBe(expected);
  });

  it('does not follow a record of forks that goes in circles or has no end', () => {
    const circle = forks({ 'a@2': { parent: 2, upTo: 9 }, 'a@3': { parent: 5, upTo: 9 } });
    expect(coversEvidence(of('a@2.1'), of('a@1.1'), circle)).toBe('incomparable');
    expect(coversEvidence(of('a@3.1'), of('a@1.1'), circle)).toBe('incomparable');
    let asked = 0;
    const endless: Relation = (_lane, epoch) => {
      asked++;
      return { parent: epoch - 1, upTo: 9 };
    };
    expect(coversEvidence(of('a@8000.1'), of('a@1.1'), endless)).toBe('incomparable');
    expect(asked).toBe(64);
    expect(coversEvidence(of('a@64.1'), of('a@1.1'), endless)).toBe('covered');
  });

  it('holds for each part of a merge, and for nothing', () => {
    fc.assert(
      fc.property(evidence, evidence, maybeRelation, (a, b, related) => {
        expect(coversEvidence(mergeEvidence(a, b), a, related)).toBe('covered');
        expect(coversEvidence(a, noEvidence, related)).toBe('covered');
      }),
    );
  });

  it('is monotone: more of what there is, or less of what is needed, keeps it covered', () => {
    fc.assert(
      fc.property(evidence, evidence, evidence, maybeRelation, (have, need, more, related) => {
        const both = mergeEvidence(need, more);
        const covered = (has: Evidence, needs: Evidence): boolean =>
          coversEvidence(has, needs, related) === 'covered';
        if (covered(have, need)) expect(covered(mergeEvidence(have, more), need)).toBe(true);
        if (covered(have, both)) expect(covered(have, need)).toBe(true);
        expect(covered(have, both)).toBe(covered(have, need) && covered(have, more));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('the lag behind evidence', () => {
  it('names each needed position that is missing, and by how much where that is a number', () => {
    expect(lagBehind(of('a@1.4 b@1.9 c@2.1'), of('a@1.9 b@1.9 c@1.3 d@1.2'))).toStrictEqual([
      {
        lane: 'a',
        state: 'behind',
        need: { epoch: 1, offset: 9 },
        have: [{ epoch: 1, offset: 4 }],
        byOffsets: 5,
      },
      {
        lane: 'c',
        state: 'incomparable',
        need: { epoch: 1, offset: 3 },
        have: [{ epoch: 2, offset: 1 }],
      },
      { lane: 'd', state: 'behind', need: { epoch: 1, offset: 2 }, have: [] },
    ]);
  });

  it('says what the coverage says', () => {
    fc.assert(
      fc.property(evidence, evidence, maybeRelation, (have, need, related) => {
        const states = lagBehind(have, need, related).map((lag) => lag.state);
        const expected = states.includes('incomparable')
          ? 'incomparable'
          : (states[0] ?? 'covered');
        expect(coversEvidence(have, need, related)).toBe(expected);
      }),
    );
  });
});

describe('clamping evidence to known heads', () => {
  it('cuts what is above a head and drops what has none', () => {
    const heads = of('orders@1.50 orders@2.7 stock@3.3');
    const given = of('orders@1.60 orders@2.5 orders@3.1 stock@1.1 unknown@1.1');
    expect(clampEvidence(given, heads)).toStrictEqual(of('orders@1.50 orders@2.5'));
    expect(clampEvidence(given, noEvidence)).toStrictEqual(noEvidence);
  });

  it('never asks for more than was given or than is known', () => {
    fc.assert(
      fc.property(evidence, evidence, (given, heads) => {
        const clamped = clampEvidence(given, heads);
        expect(coversEvidence(given, clamped)).toBe('covered');
        expect(coversEvidence(heads, clamped)).toBe('covered');
        expect(clampEvidence(clamped, heads)).toStrictEqual(clamped);
      }),
    );
  });
});

it('refuses with the one error class', () => {
  expect(() => of('@1.1')).toThrow(TallyError);
});
