import type { Clock } from '../../../ports/clock.ts';
import type { MemcachedLink } from '../link.ts';
import { BEAT_MS } from './supports.ts';

/** Whoever waits looks far more often than this. */
const SIGN_TTL_S = 60;

/**
 * The sign of life of one holder of leases: an item that changes for as long as it holds any. Whoever waits for one of its
 * leases sees it change, by a clock of his own; when it stays the same for too long, the holder is taken for dead.
 */
export class Holder {
  readonly id: string;
  readonly #link: MemcachedLink;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #leases = new Set<string>();
  #beats = 0;
  #given = 0;
  #stop: (() => void) | undefined;

  constructor(options: {
    readonly id: string;
    readonly link: MemcachedLink;
    readonly name: string;
    readonly clock: Clock;
  }) {
    this.id = options.id;
    this.#link = options.link;
    this.#name = options.name;
    this.#clock = options.clock;
  }

  /** A new name of a lease, which is held until {@link end}. */
  begin(): string {
    this.#given += 1;
    const lease = `${this.id}.${this.#given}`;
    this.#leases.add(lease);
    if (this.#stop === undefined) this.#beat();
    return lease;
  }

  end(lease: string): void {
    this.#leases.delete(lease);
    if (this.#leases.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  close(): void {
    for (const lease of this.#leases) this.end(lease);
  }

  #beat(): void {
    this.#beats += 1;
    const value = String(this.#beats);
    // One that does not arrive is followed by another.
    void this.#link
      .send({ verb: 'ms', key: this.#name, flags: [`T${SIGN_TTL_S}`], value })
      .catch(() => undefined);
    this.#stop = this.#clock.after(BEAT_MS, () => this.#beat());
  }
}

/** The holder in the name of a lease. */
export function holderOf(lease: string): string {
  return lease.slice(0, lease.lastIndexOf('.'));
}
