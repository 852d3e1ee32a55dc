import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Evidence, evidenceOf, noEvidence } from '../core/evidence.ts';
import {
  addEvidence,
  currentEvidence,
  evidenceToPassOn,
  runInContext,
  withEvidence,
} from './context.ts';

const at = (lane: string, offset: number, epoch = 1): Evidence =>
  evidenceOf([[lane, { epoch, offset }]]);
const both = (...parts: readonly Evidence[]): Evidence =>
  evidenceOf(
    parts.flatMap((part) =>
      [...part].flatMap(([lane, positions]) => positions.map((one) => [lane, one] as const)),
    ),
  );

describe('outside of a context', () => {
  it('there is no evidence, and none is kept', () => {
    addEvidence(at('orders', 5));
    expect(currentEvidence()).toStrictEqual(noEvidence);
    expect(evidenceToPassOn(at('orders', 9))).toStrictEqual(noEvidence);
  });
});

describe('a context', () => {
  it('collects the evidence of writes across awaits', async () => {
    await runInContext(noEvidence, async () => {
      addEvidence(at('orders', 5));
      await setImmediate();
      addEvidence(at('orders', 4));
      await Promise.all([
        setImmediate().then(() => addEvidence(at('stock', 2))),
        setImmediate().then(() => addEvidence(at('orders', 7))),
      ]);
      expect(currentEvidence()).toStrictEqual(both(at('orders', 7), at('stock', 2)));
    });
    expect(currentEvidence()).toStrictEqual(noEvidence);
  });

  it('is not seen by another that runs at the same time, nor by one inside it', async () => {
    const seen = await Promise.all(
      [1, 2].map((offset) =>
        runInContext(at('in', offset), async () => {
          await setImmediate();
          addEvidence(at('orders', offset));
          await setImmediate();
          const inner = runInContext(noEvidence, () => currentEvidence());
          expect(inner).toStrictEqual(noEvidence);
          return currentEvidence();
        }),
      ),
    );
    expect(seen).toStrictEqual(
      [1, 2].map((offset) => both(at('in', offset), at('orders', offset))),
    );
  });

  it('gives the result of its work, and its error', () => {
    expect(runInContext(noEvidence, () => 5)).toBe(5);
    expect(withEvidence(noEvidence, () => 6)).toBe(6);
    const failing = (): never => {
      throw new RangeError('work');
    };
    expect(() => runInContext(noEvidence, failing)).toThrow(RangeError);
  });

  it('has evidence that is added for a part of it only there', () => {
    runInContext(at('in', 1), () => {
      withEvidence(at('orders', 3), () => {
        withEvidence(at('orders', 9), () => {
          expect(currentEvidence()).toStrictEqual(both(at('in', 1), at('orders', 9)));
        });
        expect(currentEvidence()).toStrictEqual(both(at('in', 1), at('orders', 3)));
      });
      expect(currentEvidence()).toStrictEqual(at('in', 1));
    });
  });

  it('keeps a write that was made in a part of it', () => {
    runInContext(noEvidence, () => {
      withEvidence(at('orders', 3), () => addEvidence(at('stock', 8)));
      expect(currentEvidence()).toStrictEqual(at('stock', 8));
    });
  });

  it('begins with evidence that the application gives where there was none', () => {
    withEvidence(at('orders', 3), () => {
      addEvidence(at('stock', 8));
      expect(currentEvidence()).toStrictEqual(both(at('orders', 3), at('stock', 8)));
      expect(evidenceToPassOn()).toStrictEqual(both(at('orders', 3), at('stock', 8)));
    });
  });
});

describe('what a context passes on', () => {
  it('is its own evidence whole, and inbound evidence up to the known heads', () => {
    const inbound = both(
      at('orders', 999_999),
      at('stock', 5),
      at('unknown', 1),
      at('stock', 9, 7),
    );
    runInContext(inbound, () => {
      addEvidence(at('carts', 12));
      expect(evidenceToPassOn()).toStrictEqual(at('carts', 12));
      const heads = both(at('orders', 40), at('stock', 50), at('carts', 2));
      expect(evidenceToPassOn(heads)).toStrictEqual(
        both(at('orders', 40), at('stock', 5), at('carts', 12)),
      );
    });
  });

  it('does not fail a committed write for made-up epochs that came in', () => {
    const hostile = both(...[1, 2, 3, 4].map((epoch) => at('orders', 1, epoch)));
    runInContext(hostile, () => {
      addEvidence(at('orders', 5, 5));
      expect(evidenceToPassOn(at('orders', 9, 5))).toStrictEqual(at('orders', 5, 5));
      expect(() => currentEvidence()).toThrow(
        expect.objectContaining({ code: 'EVIDENCE_TOO_LARGE' }),
      );
    });
  });
});
