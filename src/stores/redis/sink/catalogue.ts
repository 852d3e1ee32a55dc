import { checkTargetName } from './names.ts';
import { json, type TargetDeclaration, type Targets } from './targets.ts';

/** What a store's targets are: as declared, or JSON texts. */
export class Catalogue {
  readonly rowBytesMax: number;
  readonly #targets: Map<string, TargetDeclaration>;

  constructor(targets: Targets, rowBytesMax: number) {
    this.#targets = new Map(Object.entries(targets));
    this.rowBytesMax = rowBytesMax;
  }

  /** Throws CONFIG_INVALID for a name that cannot be a target's. */
  declaration(target: string): TargetDeclaration {
    const known = this.#targets.get(target);
    if (known !== undefined) return known;
    checkTargetName(target, `target ${target}`);
    const declaration = json();
    this.#targets.set(target, declaration);
    return declaration;
  }
}
