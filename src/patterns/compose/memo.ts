import { coversEvidence, type Evidence } from '../../core/evidence.ts';
import type { Work } from '../../runtime/context.ts';
import type { Known } from './known.ts';

/** What tells two keys apart. */
export type MemoKey = string | number | bigint;

/** A value that was loaded, or is. */
export interface Loaded<Value> {
  readonly value: Promise<Value>;
  /** How fresh, once it is there; undefined for what the application said itself. */
  known: Known | undefined;
}

interface Kept<Value> {
  readonly loaded: Loaded<Value>;
  readonly written: Evidence;
  readonly given: Evidence;
}

/** Keys that one request remembers of one loader. Beyond it they are loaded again. */
const KEYS_MAX = 10_000;

/**
 * What each request knows of one loader. It ends with the request, and with its next write: what was loaded
 * before a write may lack it. Otherwise: 1. a request loads a row 2. writes it 3. loads it again, and is
 * shown that its own write did not happen.
 */
export class Memo<Value> {
  readonly #byWork = new WeakMap<object, Map<MemoKey, Kept<Value>>>();

  get(work: Work | undefined, key: MemoKey): Loaded<Value> | undefined {
    if (work === undefined) return undefined;
    const kept = this.#byWork.get(work.id)?.get(key);
    if (kept === undefined || kept.written !== work.written) return undefined;
    if (kept.given !== work.given && coversEvidence(kept.given, work.given) !== 'covered')
      return undefined;
    return kept.loaded;
  }

  set(work: Work | undefined, key: MemoKey, loaded: Loaded<Value>): void {
    if (work === undefined) return;
    let keys = this.#byWork.get(work.id);
    if (keys === undefined) {
      keys = new Map();
      this.#byWork.set(work.id, keys);
    }
    if (keys.size >= KEYS_MAX && !keys.has(key)) return;
    keys.set(key, { loaded, written: work.written, given: work.given });
  }

  /** Forgets a key if it is still this that is known of it. */
  drop(work: Work | undefined, key: MemoKey, loaded: Loaded<Value>): void {
    if (work === undefined) return;
    const keys = this.#byWork.get(work.id);
    if (keys?.get(key)?.loaded === loaded) keys.delete(key);
  }

  clear(work: Work | undefined, key: MemoKey | undefined): void {
    if (work === undefined) return;
    if (key === undefined) this.#byWork.delete(work.id);
    else this.#byWork.get(work.id)?.delete(key);
  }
}
