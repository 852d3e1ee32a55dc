import type { Diagnose } from '../../ports/diagnose.ts';
import type { Scan } from '../../ports/scan.ts';
import type { Sink } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import type { OpenSearchClient } from './client.ts';
import { openDiagnose } from './diagnose.ts';
import { openLink } from './http/link.ts';
import { readInfo } from './info.ts';
import { checkOpenSearchOptions, type OpenSearchOptions } from './options.ts';
import type { OpenSearchParts } from './parts.ts';
import { openScan } from './scan.ts';
import { Names } from './sink/names.ts';
import { OpenSearchSink } from './sink/sink.ts';
import { Catalogue } from './sink/targets.ts';
import { readVitals } from './vitals.ts';

/** An open OpenSearch or Elasticsearch: a client of its HTTP API, and the ports that coordinate it. */
export interface OpenSearchStore extends Store<OpenSearchClient> {
  readonly system: 'opensearch';
  readonly sink: Sink;
  readonly scan: Scan;
  readonly diagnose: Diagnose;
}

/**
 * Declares a store in OpenSearch 2 or newer, or Elasticsearch 7.10 or newer, over HTTP; there is nothing to install. Rows
 * are documents whose external version is their place in the source. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION; `open`
 * throws STORE_UNREACHABLE, CAPABILITY_MISSING (something else answers).
 */
export function opensearch(options: OpenSearchOptions): StoreDefinition<OpenSearchStore> {
  const checked = checkOpenSearchOptions(options);
  const { endpoint, prefix, targets, visible, rowBytesMax } = checked;
  return {
    system: 'opensearch',
    open: async (context) => {
      const { clock, name } = context;
      const where = `store ${name}`;
      const link = openLink({ endpoint, clock, where });
      try {
        await readInfo({ link, where });
      } catch (error) {
        link.close();
        throw error;
      }
      const names = new Names(prefix);
      const catalogue = new Catalogue(targets);
      return new OpenStore(context, { link, names, catalogue, visible, rowBytesMax, clock, where });
    },
  };
}

class OpenStore implements OpenSearchStore {
  readonly name: string;
  readonly system = 'opensearch';
  readonly sink: Sink;
  readonly scan: Scan;
  readonly diagnose: Diagnose;
  readonly #parts: OpenSearchParts;

  constructor(context: StoreContext, parts: OpenSearchParts) {
    this.name = context.name;
    this.#parts = parts;
    this.sink = new OpenSearchSink(parts);
    this.scan = openScan(parts);
    this.diagnose = openDiagnose(parts);
  }

  get client(): OpenSearchClient {
    return this.#parts.link;
  }

  async vitals(): Promise<Vitals> {
    return readVitals(this.#parts);
  }

  async close(): Promise<void> {
    this.#parts.link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
