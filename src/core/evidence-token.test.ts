import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTallyError, type TallyError } from './errors.ts';
import { evidenceOf, noEvidence } from './evidence.ts';
import {
  decodeEvidence,
  encodeEvidence,
  TOKEN_CHARACTERS_MAX,
  TOKEN_LANES_MAX,
} from './evidence-token.ts';
import { EPOCH_MAX, OFFSET_MAX, type Position } from './position.ts';

function refusal(token: string): TallyError {
  try {
    decodeEvidence(token);
  } catch (error) {
    if (isTallyError(error, 'EVIDENCE_MALFORMED', 'EVIDENCE_TOO_LARGE')) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(token)} was taken`);
}

const lane = fc.oneof(
  fc.constantFrom('orders', 'events/3', '__proto__', 'constructor', 'a', 'B', 'A:b.c-d_e'),
  fc.stringMatching(/^[A-Za-z0-9_.:/-]{1,64}$/),
);
const at: fc.Arbitrary<Position> = fc.record({
  epoch: fc.oneof(fc.nat(3), fc.constant(EPOCH_MAX)),
  offset: fc.oneof(fc.nat(), fc.constant(OFFSET_MAX)),
});
const evidence = fc
  .uniqueArray(fc.tuple(lane, at), {
    maxLength: 30,
    selector: ([name, { epoch }]) => `${name}@${epoch % 4}`,
  })
  .map(evidenceOf);

const lanes = (count: number): [string, Position][] =>
  Array.from({ length: count }, (_, index) => [`lane${index}`, { epoch: 1, offset: index }]);

describe('an evidence token', () => {
  it('gives back the evidence, in exactly one text', () => {
    fc.assert(
      fc.property(evidence, (given) => {
        const token = encodeEvidence(given);
        expect(decodeEvidence(token)).toStrictEqual(given);
        expect(encodeEvidence(decodeEvidence(token))).toBe(token);
      }),
    );
  });

  it('reads as lane@epoch.offset, sorted by lane and epoch', () => {
    const given = evidenceOf([
      ['stock', { epoch: 2, offset: 7 }],
      ['stock', { epoch: 1, offset: 9 }],
      ['Orders', { epoch: 0, offset: 0 }],
    ]);
    expect(encodeEvidence(given)).toBe('v1~Orders@0.0~stock@1.9~stock@2.7');
    expect(encodeEvidence(noEvidence)).toBe('v1');
    expect(decodeEvidence('v1')).toBe(noEvidence);
  });

  it('has only characters that W3C baggage takes as they are, and no percent sign', () => {
    fc.assert(
      fc.property(evidence, (given) => {
        expect(encodeEvidence(given)).toMatch(
          /^[\x21\x23-\x24\x26-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/,
        );
      }),
    );
  });

  it('is refused past its lanes and its characters, in both directions', () => {
    const full = encodeEvidence(evidenceOf(lanes(TOKEN_LANES_MAX)));
    expect(decodeEvidence(full).size).toBe(TOKEN_LANES_MAX);
    const tooLarge: unknown = expect.objectContaining({ code: 'EVIDENCE_TOO_LARGE' });
    expect(() => encodeEvidence(evidenceOf(lanes(TOKEN_LANES_MAX + 1)))).toThrow(tooLarge);
    expect(refusal(`${full}~zzz@1.1`).code).toBe('EVIDENCE_TOO_LARGE');
    const long = lanes(TOKEN_LANES_MAX).map(([name, place]): [string, Position] => [
      name.padEnd(64, 'x'),
      { ...place, offset: OFFSET_MAX },
    ]);
    expect(() => encodeEvidence(evidenceOf(long))).toThrow(tooLarge);
    expect(refusal('v1~'.padEnd(TOKEN_CHARACTERS_MAX + 1, 'a')).code).toBe('EVIDENCE_TOO_LARGE');
    expect(refusal('v1~'.padEnd(TOKEN_CHARACTERS_MAX, 'a')).code).toBe('EVIDENCE_MALFORMED');
    expect(refusal('v1~a@1.1~a@2.1~a@3.1~a@4.1~a@5.1').code).toBe('EVIDENCE_TOO_LARGE');
  });

  it.each([
    '',
    'v2~a@1.1',
    'V1',
    ' v1',
    'v1 ',
    'v1~',
    'v1~~a@1.1',
    'v1~a@1.1~',
    'v1~a@1',
    'v1~a.1@1',
    'v1~@1.1',
    'v1~a@01.1',
    'v1~a@1.01',
    'v1~a@1.',
    'v1~a@-1.1',
    'v1~a@1.1e3',
    'v1~a@1.0x1',
    'v1~a@1.1\n',
    'v1~a@1.1~a@1.1',
    'v1~a@1.1~a@1.2',
    'v1~a@2.1~a@1.1',
    'v1~b@1.1~a@1.1',
    'v1~a@8192.1',
    'v1~a@1.1125899906842624',
    'v1~a@1.9999999999999999',
    'v1~a@1.99999999999999999',
    'v1~é@1.1',
    'v1~a%40@1.1',
    'v1~a@１.1',
    `v1~${'x'.repeat(65)}@1.1`,
  ])('%j is malformed', (token) => {
    expect(refusal(token).code).toBe('EVIDENCE_MALFORMED');
    expect(refusal(token).details['reason']).toEqual(expect.any(String));
  });

  it('echoes at most 40 characters of hostile input, all printable', () => {
    const hostile = `v1~\u001b[31m\r\nSet-Cookie: x=1;${'Z'.repeat(3_000)}`;
    const error = refusal(hostile);
    expect(error.message).toContain('?[31m??Set-Cookie: x=1;');
    expect(error.message.match(/Z/g)?.length).toBeLessThan(40);
    expect(JSON.stringify([error.message, error.details])).not.toContain('Z'.repeat(40));
    expect(error.message).toMatch(/^[\x20-\x7e]+$/);
  });

  it('throws nothing but its two errors, whatever the text or bytes', () => {
    const bytes = fc.uint8Array().map((raw) => Buffer.from(raw).toString('latin1'));
    const near = fc
      .array(
        fc.constantFrom('v1', '~', '@', '.', 'a', 'b', '0', '1', '9', '%', ',', '\0', '__proto__'),
      )
      .map((parts) => `v1~${parts.join('')}`);
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), bytes, near), (token) => {
        let decoded: ReturnType<typeof decodeEvidence>;
        try {
          decoded = decodeEvidence(token);
        } catch (error) {
          expect(isTallyError(error, 'EVIDENCE_MALFORMED', 'EVIDENCE_TOO_LARGE')).toBe(true);
          return;
        }
        // What is taken is canonical: there is no second text for the same evidence.
        expect(encodeEvidence(decoded)).toBe(token);
      }),
      { numRuns: 5_000 },
    );
  });

  it('looks at no more than its first characters when it is far too long', () => {
    const huge = `v1${'~a@1.1'.repeat(2_000_000)}`;
    const started = process.cpuUsage();
    for (let round = 0; round < 1_000; round++) refusal(huge);
    // A thousand scans of 12 MB would take many seconds; a look at the length takes none.
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
  });

  it('is read in linear time at its largest, however it is made', () => {
    const worst = [
      `v1~${'a'.repeat(4_000)}`,
      `v1${'~'.repeat(4_000)}`,
      `v1~${'a@'.repeat(2_000)}`,
      `v1~${'1.'.repeat(2_000)}`,
      `v1~a@${'9'.repeat(4_000)}`,
    ];
    const started = process.cpuUsage();
    for (let round = 0; round < 200; round++) for (const token of worst) refusal(token);
    // 1000 readings of 4 KB: 4 MB. A quadratic reading would be 16 G steps.
    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000);
  });
});
