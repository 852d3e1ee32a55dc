import type { TargetShape } from '../../../ports/sink.ts';
import { TallyError } from '../../../core/errors.ts';
import { layoutOf, type Layout } from './layout.ts';
import { checkName } from './names.ts';
import { documents, type Targets } from './targets.ts';

/** The layouts of a store's targets: as declared, or documents. */
export class Catalogue {
  readonly targets: Targets;
  readonly rowBytesMax: number;
  readonly #layouts = new Map<string, Layout>();

  /** Throws CONFIG_INVALID for a name that cannot be a target's. */
  constructor(targets: Targets, rowBytesMax: number) {
    this.targets = targets;
    this.rowBytesMax = rowBytesMax;
    for (const name of Object.keys(targets)) this.layout(name);
  }

  layout(target: string): Layout {
    const known = this.#layouts.get(target);
    if (known !== undefined) return known;
    checkName(target, 'target', `target ${target}`);
    const declaration = Object.hasOwn(this.targets, target) ? this.targets[target] : undefined;
    const layout = layoutOf(declaration ?? documents(), this.rowBytesMax);
    this.#layouts.set(target, layout);
    return layout;
  }

  /** The layout for what a flow asks for. Throws CONFIG_INVALID if it names another key. */
  layoutFor({ target, key }: TargetShape): Layout {
    const layout = this.layout(target);
    if (this.targets[target]?.kind !== 'table' || key === undefined) return layout;
    const declared = layout.key.map(({ name }) => name);
    if (declared.length === key.length && declared.every((name, index) => name === key[index]))
      return layout;
    throw new TallyError('CONFIG_INVALID', {
      what: `the flow writes ${target} by the key (${key.join(', ')}), the table is declared with (${declared.join(', ')})`,
      where: `target ${target}`,
      mend: 'declare the table with the key that the flow projects to',
      details: { target, key, declared },
    });
  }
}
