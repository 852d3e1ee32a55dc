import type { Evidence } from '../../core/evidence.ts';

/** Past this many load times before the end, an early refresh is as good as impossible (e^-10): no draw is made. */
const EARLY_LOADS_MAX = 10;

/** A value in this process. Times by the monotonic clock. */
export interface Copy<Value> {
  readonly value: Value | undefined;
  /** What `get` answers, made once. */
  readonly answer: Promise<Value | undefined>;
  /** Until then it is answered without a further look. */
  quietUntilMs: number;
  /** Until then it is fresh. */
  freshUntilMs: number;
  /** When the value itself is no longer fresh: a copy may have to look again before. */
  readonly endsMs: number;
  /** Until then it may be answered stale. */
  readonly keptUntilMs: number;
  readonly storedAtMs: number;
  readonly loadMs: number;
  readonly tags: readonly string[];
  readonly asOf: Evidence;
  /** Asked for since the hand of the clock passed it. */
  isUsed: boolean;
}

/** What a copy is made of. */
export interface CopyParts<Value> {
  readonly value: Value | undefined;
  readonly nowMs: number;
  readonly freshForMs: number;
  readonly keptForMs: number;
  readonly ageMs: number;
  readonly loadMs: number;
  readonly tags: readonly string[];
  readonly asOf: Evidence;
}

/**
 * Copies in this process, as many as were agreed. What goes is found as CLOCK does (Corbató 1968): a copy that was asked
 * for since the last time gets another round. A hit is one look into a Map, one comparison of times and one mark.
 */
export class Near<Value> {
  readonly #copies = new Map<string, Copy<Value>>();
  readonly #entriesMax: number;
  readonly #staleMaxMs: number;
  readonly #early: number;
  readonly #ahead: number;
  #isTrusted: boolean;

  constructor(options: {
    readonly entriesMax: number;
    readonly staleMaxMs: number;
    readonly early: number;
    readonly ahead: number;
    /** Whether copies may be kept from the start. */
    readonly isTrusted: boolean;
  }) {
    this.#entriesMax = options.entriesMax;
    this.#staleMaxMs = options.staleMaxMs;
    this.#early = options.early;
    this.#ahead = options.ahead;
    this.#isTrusted = options.isTrusted;
  }

  get size(): number {
    return this.#copies.size;
  }

  get(name: string): Copy<Value> | undefined {
    return this.#copies.get(name);
  }

  /** Keeps a copy, unless changes may be missed at the moment. */
  keep(name: string, parts: CopyParts<Value>): void {
    if (!this.#isTrusted) return;
    const { value, nowMs, ageMs, loadMs, tags, asOf } = parts;
    const freshUntilMs = nowMs + Math.min(parts.freshForMs, this.#staleMaxMs);
    // Only the end that the value has by itself is worth an early load; to be asked for again costs one look.
    const endsMs = nowMs + parts.freshForMs;
    const quietUntilMs = Math.min(
      freshUntilMs,
      endsMs - loadMs * this.#early * EARLY_LOADS_MAX,
      this.#ahead === 0 ? endsMs : nowMs - ageMs + this.#ahead * (ageMs + parts.freshForMs),
    );
    this.#copies.delete(name);
    this.#copies.set(name, {
      value,
      answer: Promise.resolve(value),
      quietUntilMs,
      freshUntilMs,
      endsMs,
      keptUntilMs: nowMs + parts.keptForMs,
      storedAtMs: nowMs - ageMs,
      loadMs,
      tags,
      asOf,
      isUsed: false,
    });
    if (this.#copies.size > this.#entriesMax) this.#letGo();
  }

  delete(name: string): void {
    this.#copies.delete(name);
  }

  /** From now on its readers have to look, but it may be answered stale. */
  expire(name: string, nowMs: number): void {
    const copy = this.#copies.get(name);
    if (copy !== undefined) copy.quietUntilMs = copy.freshUntilMs = nowMs;
  }

  /** Looks at every copy: for invalidations of many, which are rare. */
  deleteTagged(tag: string): void {
    for (const [name, { tags }] of this.#copies) if (tags.includes(tag)) this.#copies.delete(name);
  }

  clear(): void {
    this.#copies.clear();
  }

  /** While changes may be missed nothing is kept, and what is there is stale: for readers who have nothing better. */
  trust(isTrusted: boolean): void {
    this.#isTrusted = isTrusted;
    if (isTrusted) return;
    for (const copy of this.#copies.values()) copy.quietUntilMs = copy.freshUntilMs = -Infinity;
  }

  #letGo(): void {
    for (const [name, copy] of this.#copies) {
      this.#copies.delete(name);
      if (!copy.isUsed) return;
      copy.isUsed = false;
      this.#copies.set(name, copy);
    }
  }
}
