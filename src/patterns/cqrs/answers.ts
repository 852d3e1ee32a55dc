import type { Evidence } from '../../core/evidence.ts';
import { decodeEvidence, encodeEvidence } from '../../core/evidence-token.ts';
import { TallyError } from '../../core/errors.ts';
import { noEvidence } from '../../core/evidence.ts';
import { checkDuration, checkOptions } from '../../core/options.ts';
import type { Row, Value } from '../../core/row.ts';
import type { KeyValue } from '../../ports/key-value.ts';

/** The answer of a command with a key, as it is kept. */
export interface KeptAnswer {
  /** Of the command's name and input. */
  readonly digest: string;
  readonly value: unknown;
  readonly evidence: Evidence;
}

/** Where the answers of commands with keys are kept for as long as a sender may ask again. */
export interface Answers {
  get(key: string): Promise<KeptAnswer | undefined>;
  keep(key: string, answer: KeptAnswer): Promise<void>;
}

/** A day: longer than any sender retries by itself, shorter than keys come around again. */
const KEEP_DEFAULT = '24h';

/**
 * Keeps answers as entries of a key-value store that expire. Throws CONFIG_INVALID if the store has no time to live:
 * what is kept for ever, for each command, fills every store.
 */
export function keyValueAnswers(
  keyValue: KeyValue,
  options: { readonly prefix?: string; readonly keep?: number | string } = {},
): Answers {
  checkOptions(options, ['prefix', 'keep'], 'keyValueAnswers');
  const { prefix = 'answer/' } = options;
  const ttlMs = checkDuration(options.keep ?? KEEP_DEFAULT, 'keyValueAnswers.keep', { min: 1 });
  if (keyValue.supports.ttlResolutionMs === undefined)
    throw new TallyError('CONFIG_INVALID', {
      what: 'answers would be kept for ever: the store has no time to live',
      where: 'keyValueAnswers',
      mend: 'give the key-value port of a store that expires its entries',
    });
  return {
    get: async (key) => {
      const entry = await keyValue.get(prefix + key);
      return entry === undefined ? undefined : answerIn(entry.value);
    },
    keep: async (key, { digest, value, evidence }) => {
      const row: Row = {
        digest,
        ...(evidence.size === 0 ? {} : { evidence: encodeEvidence(evidence) }),
        ...(value === undefined ? {} : { value: value as Value }),
      };
      await keyValue.set(prefix + key, row, { ttlMs });
    },
  };
}

function answerIn(kept: Value): KeptAnswer | undefined {
  if (typeof kept !== 'object' || kept === null || Array.isArray(kept)) return undefined;
  const { digest, value, evidence } = kept as Row;
  if (typeof digest !== 'string') return undefined;
  return {
    digest,
    value,
    evidence: typeof evidence === 'string' ? decodeEvidence(evidence) : noEvidence,
  };
}
