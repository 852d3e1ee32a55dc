import { describe, test } from 'vitest';
import { sinkConformance, type SinkSubject } from '../../src/conformance/sink.ts';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { sinkSupports } from '../../src/stores/opensearch/index.ts';
import { hasOpenSearch } from '../support/opensearch.ts';
import { declaredTargets, openTargets } from './opensearch-targets.ts';

describe.skipIf(!hasOpenSearch)('opensearch, declared fields', () => {
  sinkConformance({ test, supports: sinkSupports, open: openSubject });
});

async function openSubject(): Promise<SinkSubject> {
  const opened = await openTargets({ targets: declaredTargets });
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
