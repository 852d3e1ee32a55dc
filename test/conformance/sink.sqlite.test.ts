import { describe, test } from 'vitest';
import { sinkConformance, type SinkSubject } from '../../src/conformance/sink.ts';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { sinkSupports } from '../../src/stores/sqlite/sink/sink.ts';
import type { Targets } from '../../src/stores/sqlite/sink/targets.ts';
import { rowBytesMax, targetFile, targetKinds } from './sqlite-targets.ts';

for (const [kind, targets] of Object.entries(targetKinds)) {
  describe(`sqlite, targets of kind ${kind}`, () => {
    sinkConformance({
      test,
      supports: { ...sinkSupports, rowBytesMax },
      open: () => openSubject(targets),
    });
  });
}

async function openSubject(targets: Targets): Promise<SinkSubject> {
  const opened = await targetFile(targets, systemClock);
  return {
    get sink() {
      return opened.ports.sink;
    },
    async read(target) {
      const rows = new Map<string, Row>();
      for await (const page of opened.ports.scan.scan(target, { rowsMax: 1_000 }))
        for (const { key, row } of page) rows.set(encodeKey(key), row);
      return rows;
    },
    async reopen() {
      opened.reopen();
    },
    dispose: () => opened.dispose(),
  };
}
