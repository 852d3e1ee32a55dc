import { must } from '../../../core/errors.ts';
import type { Segment } from './segment-files.ts';

interface Waiter {
  readonly from: number;
  readonly resolve: (there: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The readable part of the log, as one process knows it: what is in it is durable. Readers wait
 * here, and are woken by whoever extends it.
 */
export class SegmentList {
  #segments: Segment[] = [];
  #next = 0;
  #bytes = 0;
  readonly #waiters: Set<Waiter> = new Set();

  get first(): number {
    return this.#segments[0]?.first ?? 0;
  }

  /** The log offset after the last durable record. */
  get next(): number {
    return this.#next;
  }

  /** Bytes of all readable segments. */
  get bytes(): number {
    return this.#bytes;
  }

  get last(): Segment | undefined {
    return this.#segments.at(-1);
  }

  /** Takes the place of all that was known before. */
  replace(segments: readonly Segment[]): void {
    this.#segments = [...segments];
    this.#bytes = segments.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#moveTo(this.last?.next ?? 0);
  }

  /** Adds the segment that the log goes on in. */
  push(segment: Segment): void {
    const last = this.last;
    // Nothing is in a segment that the new one begins at the start of; it is read no more.
    if (last !== undefined && last.first === segment.first) {
      this.#segments.pop();
      this.#bytes -= last.bytes;
    }
    this.#segments.push(segment);
    this.#bytes += segment.bytes;
    this.#moveTo(segment.next);
  }

  /** Extends the last segment by what has become durable in it. */
  extend(bytes: number, next: number): void {
    const last = must(this.last, 'the segment that was appended to');
    last.bytes += bytes;
    last.next = next;
    this.#bytes += bytes;
    this.#moveTo(next);
  }

  /** Takes off the oldest segment; never the last. */
  shift(): void {
    if (this.#segments.length < 2) return;
    this.#bytes -= this.#segments.shift()?.bytes ?? 0;
  }

  /** The oldest segment, if it is not the last and all in it is before `offset`. */
  releasable(offset: number): Segment | undefined {
    const [oldest, second] = this.#segments;
    return oldest !== undefined && second !== undefined && second.first <= offset
      ? oldest
      : undefined;
  }

  /** The segment that holds the record at `offset`; undefined if none does. */
  find(offset: number): Segment | undefined {
    if (offset < this.first || offset >= this.#next) return undefined;
    const segments = this.#segments;
    let low = 0;
    let high = segments.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((segments[middle]?.first ?? Infinity) <= offset) low = middle;
      else high = middle - 1;
    }
    return segments[low];
  }

  /** Resolves to true once there is a record at `from`, to false when `signal` aborts before. */
  async beyond(from: number, signal: AbortSignal): Promise<boolean> {
    if (this.#next > from) return true;
    if (signal.aborted) return false;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const waiter = { from, resolve, reject };
    const onAbort = (): void => resolve(false);
    this.#waiters.add(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Ends every wait with `error`. */
  fail(error: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(error);
  }

  #moveTo(next: number): void {
    this.#next = next;
    for (const waiter of this.#waiters) if (waiter.from < next) waiter.resolve(true);
  }
}
