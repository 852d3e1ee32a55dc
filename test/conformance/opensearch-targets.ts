import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import {
  documents,
  opensearch,
  type OpenSearchOptions,
  type OpenSearchStore,
  type Targets,
} from '../../src/stores/opensearch/index.ts';
import { freshOpenSearch } from '../support/opensearch.ts';

const anything = { type: 'object', enabled: false };

/** The suites' targets, with their fields declared: the mapping is strict. */
export const declaredTargets: Targets = {
  products: documents({ fields: { sku: 'keyword', name: 'text', price: 'long' } }),
  orders: documents({ fields: { shop: 'keyword', number: 'long', total: 'long' } }),
  keys: documents({ fields: { id: anything, name: 'text' } }),
  kinds: documents({
    fields: {
      id: 'keyword',
      text: 'text',
      whole: 'long',
      fraction: 'double',
      big: 'long',
      bytes: 'binary',
      boolean: 'boolean',
      negativeZero: 'double',
      infinity: 'double',
      nan: 'double',
      list: anything,
      object: anything,
    },
  }),
};

/** A store on indices of its own, which can be closed and opened again. */
export interface OpenedTargets {
  readonly store: OpenSearchStore;
  readonly prefix: string;
  reopen(): Promise<void>;
  dispose(): Promise<void>;
}

export async function openTargets(
  options: Partial<OpenSearchOptions> = {},
): Promise<OpenedTargets> {
  const fresh = freshOpenSearch();
  const connect = (): Promise<OpenSearchStore> =>
    opensearch({ url: fresh.url, prefix: fresh.prefix, ...options }).open({
      name: 'search',
      clock: systemClock,
      random: systemRandom,
    });
  let store = await connect();
  return {
    get store() {
      return store;
    },
    prefix: fresh.prefix,
    async reopen() {
      await store.close();
      store = await connect();
    },
    async dispose() {
      await store.close();
      await fresh[Symbol.asyncDispose]();
    },
  };
}
