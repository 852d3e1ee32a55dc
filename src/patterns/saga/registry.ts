import { TallyError } from '../../core/errors.ts';
import { partsOf } from './check.ts';
import type { SagaDefinition, SagaNode } from './definition.ts';
import type { Head } from './record.ts';

/** What a process can do with a saga: go on with it, or why not. */
export type Known =
  | { readonly kind: 'known'; readonly definition: SagaDefinition }
  | { readonly kind: 'missing' | 'changed' };

/**
 * The definitions that a process has, several versions of one name side by side: a saga ends on the version that it
 * began with. Children are found in the definitions of their parents.
 */
export class Registry {
  readonly #byName = new Map<string, Map<number, SagaDefinition>>();

  /** Throws CONFIG_INVALID where two differ under one name and version. */
  constructor(definitions: readonly SagaDefinition[]) {
    for (const definition of definitions) this.add(definition);
  }

  /** Takes up one more, if it is not known yet. */
  add(definition: SagaDefinition): void {
    const { name, version, fingerprint, nodes } = definition;
    const versions = this.#byName.get(name) ?? new Map<number, SagaDefinition>();
    this.#byName.set(name, versions);
    const other = versions.get(version);
    if (other === definition) return;
    if (other !== undefined && other.fingerprint !== fingerprint)
      throw new TallyError('CONFIG_INVALID', {
        what: `there are two different definitions of saga ${name} with version ${version}`,
        where: `sagas.${name}`,
        mend: 'give the newer one a higher version, and keep the older one until its sagas have ended',
      });
    versions.set(version, definition);
    this.#addChildren(nodes);
  }

  /** The definition that a saga began with, or why there is none. */
  find({ saga, version, fingerprint }: Pick<Head, 'saga' | 'version' | 'fingerprint'>): Known {
    const definition = this.#byName.get(saga)?.get(version);
    if (definition === undefined) return { kind: 'missing' };
    if (definition.fingerprint !== fingerprint) return { kind: 'changed' };
    return { kind: 'known', definition };
  }

  #addChildren(nodes: readonly SagaNode[]): void {
    for (const node of nodes) {
      if (node.kind === 'child') this.add(node.saga);
      for (const part of partsOf(node)) this.#addChildren(part);
    }
  }
}
