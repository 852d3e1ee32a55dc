import { TallyError } from '../../core/errors.ts';
import type { Call } from './call.ts';

/**
 * What a batch answers: a `Map` by key, where a key that is not in it has no value, or a list in the order of
 * the keys. An `Error` in either is the failure of that key alone.
 */
export type BatchAnswers<Key, Value> =
  ReadonlyMap<Key, Value | Error> | readonly (Value | Error | undefined)[];

/** Loads many keys, each different, in one call to the store. */
export type Batch<Key, Value> = (
  keys: readonly Key[],
  call: Call,
) => BatchAnswers<Key, Value> | Promise<BatchAnswers<Key, Value>>;

/** One answer for each key, in the order of the keys. Throws BATCH_INVALID. */
export function answersOf(
  answers: unknown,
  keys: readonly unknown[],
  store: string,
): readonly unknown[] {
  if (answers instanceof Map) return keys.map((key) => answers.get(key) as unknown);
  if (Array.isArray(answers) && answers.length === keys.length) return answers;
  const given = Array.isArray(answers) ? `a list of ${answers.length}` : `a ${typeof answers}`;
  throw new TallyError('BATCH_INVALID', {
    what: `a batch of ${keys.length} keys was answered with ${given}`,
    where: `loader of ${store}`,
    mend: 'return a Map by key, or a list with an answer for each key in the order of the keys',
    details: { keys: keys.length },
  });
}
