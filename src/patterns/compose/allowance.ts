/**
 * Extra calls as a share of the ordinary ones: each ordinary call earns `share`, an extra one costs 1. A
 * store that is slow for everybody is asked `share` more, not twice. At most `burst` are saved up.
 */
export class Allowance {
  readonly #share: number;
  readonly #burst: number;
  #saved: number;

  /** `saved`: what there is to begin with. */
  constructor(share: number, burst: number, saved: number) {
    this.#share = share;
    this.#burst = burst;
    this.#saved = saved;
  }

  earn(): void {
    this.#saved = Math.min(this.#burst, this.#saved + this.#share);
  }

  /** Whether one may be made; takes it. */
  spend(): boolean {
    // Twenty times 0.05 is 0.99999: a millionth is not held back.
    if (this.#saved < 1 - 1e-6) return false;
    this.#saved -= 1;
    return true;
  }
}
