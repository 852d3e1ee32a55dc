import { TallyError } from '../../../core/errors.ts';
import { checkString } from '../../../core/options.ts';

/** The server takes 255 bytes; generation and epoch stand behind. */
const NAME_CHARACTERS_MAX = 200;
/** What the server lets an index be called. */
const NAME = /^[a-z0-9][a-z0-9_.+-]*$/;
const OWN_ENDING = /-g\d+(?:-w\d+)?$/;
const FLOWS = 'tally-flows';

/** Checks what all names start with. Throws CONFIG_INVALID. */
export function checkPrefix(prefix: unknown, path: string): void {
  checkString(prefix, path, {
    charactersMin: 0,
    charactersMax: 80,
    pattern: {
      matches: /^(?:[a-z0-9][a-z0-9_.+-]*)?$/,
      says: 'lower-case letters, digits and -_.+, beginning with a letter or digit',
    },
  });
}

/**
 * What indices and aliases are called. Of target `products`: readers ask the alias `products`, which shows rows and no
 * tombstones; the rows of generation 1 are in the index `products-g1`; the worker of epoch 7 writes to it through the alias
 * `products-g1-w7`, which is taken away when the next worker comes.
 */
export class Names {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** The alias of the index of flows: what each has claimed and how far it is. */
  get flows(): string {
    return this.#prefix + FLOWS;
  }

  /** The index itself. */
  get flowsIndex(): string {
    return `${this.flows}-g1`;
  }

  /** Everything of this store, for statistics. */
  get all(): string {
    return this.#prefix === '' ? '*-g*' : `${this.#prefix}*-g*`;
  }

  readers(target: string): string {
    return this.#prefix + target;
  }

  index(target: string, generation: number): string {
    return `${this.#prefix}${target}-g${generation}`;
  }

  writers(target: string, generation: number, workerEpoch: number): string {
    return `${this.index(target, generation)}-w${workerEpoch}`;
  }

  /** The aliases of all workers of an index. */
  anyWriters(target: string, generation: number): string {
    return `${this.index(target, generation)}-w*`;
  }

  /** Throws CONFIG_INVALID for a target that cannot be an index, or could be taken for one of ours. */
  check(target: string): void {
    const isOurs = OWN_ENDING.test(target) || target === FLOWS;
    if (NAME.test(target) && target.length <= NAME_CHARACTERS_MAX && !isOurs) return;
    throw new TallyError('CONFIG_INVALID', {
      what: isOurs
        ? `${target} is what the coordinator's own indices are called`
        : `${JSON.stringify(target)} cannot be an index`,
      where: `target ${target}`,
      mend: `give it a name of lower-case letters, digits and -_.+, at most ${NAME_CHARACTERS_MAX}, that does not end in -g1`,
      details: { target },
    });
  }
}

/** As a part of a path. */
export function pathOf(...names: readonly string[]): string {
  return names.map((name) => encodeURIComponent(name)).join(',');
}
