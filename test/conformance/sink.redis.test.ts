import { describe, test } from 'vitest';
import { sinkConformance, type SinkSubject } from '../../src/conformance/sink.ts';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { sinkSupportsOf } from '../../src/stores/redis/supports.ts';
import { hasRedis } from '../support/servers.ts';
import { openTargets, rowBytesMax, targetKinds } from './redis-targets.ts';

for (const [name, kind] of Object.entries(targetKinds)) {
  describe.skipIf(!hasRedis)(`redis, targets of kind ${name}`, () => {
    sinkConformance({
      test,
      supports: sinkSupportsOf({ buckets: kind.buckets, rowBytesMax }),
      open: () => openSubject(kind),
    });
  });
}

async function openSubject(kind: Parameters<typeof openTargets>[0]): Promise<SinkSubject> {
  const opened = await openTargets(kind);
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
