import { describe, test } from 'vitest';
import { sinkConformance, type SinkSubject } from '../../src/conformance/sink.ts';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { sinkSupports, type OpenSearchOptions } from '../../src/stores/opensearch/index.ts';
import { hasOpenSearch } from '../support/opensearch.ts';
import { declaredTargets, openTargets, undeclaredTargets } from './opensearch-targets.ts';

const kinds: Readonly<Record<string, Partial<OpenSearchOptions>>> = {
  'declared fields': { targets: declaredTargets },
  'fields as the server makes them, compressed': {
    targets: undeclaredTargets,
    compression: 'gzip',
  },
};

for (const [name, options] of Object.entries(kinds)) {
  describe.skipIf(!hasOpenSearch)(`opensearch, ${name}`, () => {
    sinkConformance({ test, supports: sinkSupports, open: () => openSubject(options) });
  });
}

async function openSubject(options: Partial<OpenSearchOptions>): Promise<SinkSubject> {
  const opened = await openTargets(options);
  return {
    get sink() {
      return opened.store.sink;
    },
    async read(target) {
      const rows = new Map<string, Row>();
      for await (const page of opened.store.scan.scan(target, { rowsMax: 1_000 }))
        for (const { key, row } of page) rows.set(encodeKey(key), row);
      return rows;
    },
    reopen: () => opened.reopen(),
    dispose: () => opened.dispose(),
  };
}
