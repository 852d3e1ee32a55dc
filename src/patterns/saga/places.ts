interface Gate {
  used: number;
  readonly queue: (() => void)[];
}

/** Places in steps that only so many sagas of this worker may be in at the same time. First come, first served. */
export class Places {
  readonly #gates = new Map<string, Gate>();

  /** Waits for a place; the returned function gives it up. */
  async enter(name: string, max: number): Promise<() => void> {
    if (max === Infinity) return () => undefined;
    const gate = this.#gates.get(name) ?? { used: 0, queue: [] };
    this.#gates.set(name, gate);
    if (gate.used >= max) await new Promise<void>((resolve) => gate.queue.push(resolve));
    else gate.used += 1;
    return () => {
      const next = gate.queue.shift();
      // The place goes from hand to hand; nobody slips in between.
      if (next !== undefined) next();
      else gate.used -= 1;
    };
  }
}
