import { decodeValue, encodeValue } from '../core/codec.ts';
import type { Value } from '../core/row.ts';
import type { SinkSession, StateWrite } from '../ports/sink.ts';
import type { FoldState } from './definition.ts';

/** Names that the engine keeps beside the user's: a user's name may not begin so. */
const RESERVED = '\u0000';

/**
 * Fold state of one batch: what was read from the target, under what the batch has set. A change
 * that throws leaves nothing behind: its sets are kept apart until `keep`.
 */
export class BatchState implements FoldState {
  readonly #session: SinkSession;
  readonly #read = new Map<string, string | null>();
  readonly #written = new Map<string, string | null>();
  #pending = new Map<string, string | null>();
  #failure: unknown;

  constructor(session: SinkSession) {
    this.#session = session;
  }

  /** Reads these names in one go, as far as they are not known yet. */
  async prefetch(names: readonly string[]): Promise<void> {
    const missing = [...new Set(names)].filter(
      (name) => !this.#written.has(name) && !this.#read.has(name),
    );
    if (missing.length === 0) return;
    const values = await this.#session.readState(missing).catch((error: unknown) => {
      this.#failure = error;
      throw error;
    });
    for (const [index, name] of missing.entries()) this.#read.set(name, values[index] ?? null);
  }

  async get(name: string): Promise<Value | undefined> {
    const text = await this.#text(name);
    return text === null ? undefined : decodeValue(text);
  }

  set(name: string, value: Value): void {
    this.#pending.set(name, encodeValue(value));
  }

  delete(name: string): void {
    this.#pending.set(name, null);
  }

  /** Whether a parked change was folded in before: see {@link markFolded}. */
  async wasFolded(identity: string): Promise<boolean> {
    return (await this.#text(RESERVED + identity)) !== null;
  }

  /** Remembers, in the same atomic unit, that a parked change is folded in: a retry that crashed must not count it twice. */
  markFolded(identity: string): void {
    this.#pending.set(RESERVED + identity, 'true');
  }

  /** Throws what reading from the target failed with: that is no fault of the projection, whatever it made of it. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The change succeeded: what it set becomes part of the batch. */
  keep(): void {
    for (const [name, text] of this.#pending) this.#written.set(name, text);
    this.#pending = new Map();
  }

  /** The change threw: what it set is forgotten. */
  discard(): void {
    this.#pending = new Map();
  }

  /** What the batch has to store. */
  writes(): readonly StateWrite[] {
    return Array.from(this.#written, ([name, value]) => ({ name, value }));
  }

  async #text(name: string): Promise<string | null> {
    for (const layer of [this.#pending, this.#written]) {
      const text = layer.get(name);
      if (text !== undefined) return text;
    }
    await this.prefetch([name]);
    return this.#read.get(name) ?? null;
  }
}
