/** What became of one effect. */
type Effect =
  | { readonly kind: 'applied'; readonly amount: number }
  | { readonly kind: 'undone' }
  /** Undone before it came: it may not come any more. */
  | { readonly kind: 'barred' };

/**
 * A service behind a step, as one that keeps to the rules: an effect happens once for each key, an undo takes it back
 * once, and one that comes after its undo is refused. Survives every process.
 */
export class Participant {
  readonly #effects = new Map<string, Effect>();
  /** What an account book would show. */
  balance = 0;
  /** Calls that found their effect there already. */
  repeated = 0;
  /** Effects that came after their undo. */
  barred = 0;

  apply(key: string, amount: number): 'applied' | 'barred' {
    const known = this.#effects.get(key);
    if (known === undefined) {
      this.#effects.set(key, { kind: 'applied', amount });
      this.balance += amount;
      return 'applied';
    }
    if (known.kind === 'applied') {
      this.repeated += 1;
      return 'applied';
    }
    this.barred += 1;
    return 'barred';
  }

  undo(key: string): void {
    const known = this.#effects.get(key);
    if (known?.kind === 'applied') {
      this.balance -= known.amount;
      this.#effects.set(key, { kind: 'undone' });
    } else if (known === undefined) this.#effects.set(key, { kind: 'barred' });
  }

  /** Whether the effect stands. */
  has(key: string): boolean {
    return this.#effects.get(key)?.kind === 'applied';
  }

  /** The keys whose effect stands. */
  standing(): readonly string[] {
    return [...this.#effects].filter(([, { kind }]) => kind === 'applied').map(([key]) => key);
  }
}
