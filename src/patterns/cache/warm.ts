import { checkNumber, checkOptions } from '../../core/options.ts';

/** Keys that one round trip asks for while a cache is warmed. */
const WARM_KEYS_MAX = 100;

export interface WarmProgress {
  readonly keys: number;
  readonly loaded: number;
  /** There already, or being loaded by somebody else. */
  readonly skipped: number;
  readonly failed: number;
}

export interface WarmOptions {
  readonly signal?: AbortSignal;
  /** Called after every hundred keys. */
  readonly onProgress?: (progress: WarmProgress) => void;
  /** Keys at most; not given: all that come. */
  readonly limit?: number;
}

/** What became of one key. */
export type Warmed = 'loaded' | 'skipped' | 'failed';

/** Takes keys in groups, so many that one round trip asks for all of a group. Stops when the signal aborts. */
export async function warmKeys<Key>(
  keys: Iterable<Key> | AsyncIterable<Key>,
  options: WarmOptions,
  warm: (group: readonly Key[]) => Promise<readonly Warmed[]>,
): Promise<WarmProgress> {
  checkOptions(options, ['signal', 'onProgress', 'limit'], 'warm');
  const { limit = Infinity } = options;
  if (limit !== Infinity) checkNumber(limit, 'warm.limit', { min: 1, integer: true });
  let progress: WarmProgress = { keys: 0, loaded: 0, skipped: 0, failed: 0 };
  let taken = 0;
  let group: Key[] = [];
  const flush = async (): Promise<void> => {
    if (group.length === 0) return;
    const results = await warm(group);
    const count = (wanted: Warmed): number => results.filter((one) => one === wanted).length;
    progress = {
      keys: progress.keys + group.length,
      loaded: progress.loaded + count('loaded'),
      skipped: progress.skipped + count('skipped'),
      failed: progress.failed + count('failed'),
    };
    group = [];
    options.onProgress?.(progress);
  };
  for await (const key of keys) {
    if (options.signal?.aborted === true || taken >= limit) break;
    taken += 1;
    group.push(key);
    if (group.length >= WARM_KEYS_MAX) await flush();
  }
  await flush();
  return progress;
}
